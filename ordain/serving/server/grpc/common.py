"""Shared by both gRPC services: metadata of a call, and handlers that turn errors into statuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from ordain.serving.server.errors import Code
from ordain.serving.server.request import REQUEST_ID_HEADER, VERSION_HEADER, Request
from ordain.serving.server.service import Service

_STATUS = {status.value[0]: status for status in grpc.StatusCode}


class GrpcRequest(Request):
    """One RPC; its message is passed separately."""

    def __init__(
        self, service: Service, protocol: str, method: str, context: grpc.aio.ServicerContext
    ) -> None:
        metadata = {key: value for key, value in context.invocation_metadata() or ()}
        token = metadata.get("authorization")
        super().__init__(
            service,
            protocol,
            method,
            str(metadata.get(REQUEST_ID_HEADER.lower(), "")),
            token if isinstance(token, str) or token is None else "",
        )
        self._context = context

    @property
    def timeout_s(self) -> float | None:
        """Seconds until the client's deadline, or None if it has none."""
        left = self._context.time_remaining()
        return None if left is None else float(left)


Method = Callable[[Any, GrpcRequest], Awaitable[Any]]


def handler(
    service: Service, protocol: str, name: str, method: Method, is_public: bool = False
) -> Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]]:
    """Makes a gRPC handler of a method that raises `RequestError`.

    Args:
        service: The model.
        protocol: Protocol label of the metrics.
        name: Name of the method, for the metrics.
        method: Takes the message and the request, returns the response message.
        is_public: Whether the method needs no token.
    """

    async def handle(message: Any, context: grpc.aio.ServicerContext) -> Any:
        request = GrpcRequest(service, protocol, name, context)
        response = None
        with request.recorded(name):
            if not is_public:
                request.authorize()
            response = await method(message, request)
        if request.version:
            context.set_trailing_metadata(((VERSION_HEADER.lower(), request.version),))
        if request.code is not Code.OK:
            await context.abort(_STATUS[request.code.number], request.error)
        return response

    return handle
