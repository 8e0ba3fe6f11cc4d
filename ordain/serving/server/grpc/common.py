"""What both gRPC services share: the token, one answer for each failure, the metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from ordain.serving.server.errors import Code, RequestError
from ordain.serving.server.rest.front import REQUEST_ID_HEADER, VERSION_HEADER
from ordain.serving.server.security import is_authorized
from ordain.serving.server.service import Service

log = logging.getLogger("ordain.serve")

_STATUS = {status.value[0]: status for status in grpc.StatusCode}


class Call:
    """One RPC while it is answered.

    Attributes:
        service: The model behind it.
        model: The model's name for the metrics; set by the method.
        version: The version that answers; set by the method.
    """

    def __init__(self, service: Service, context: grpc.aio.ServicerContext) -> None:
        self.service = service
        self.model = ""
        self.version = ""
        self._context = context
        self._metadata = {key: value for key, value in context.invocation_metadata() or ()}

    @property
    def request_id(self) -> str:
        """What the client calls the request, or empty."""
        return str(self._metadata.get(REQUEST_ID_HEADER.lower(), ""))

    @property
    def timeout_s(self) -> float | None:
        """How long the client will wait, or None if it did not say."""
        left = self._context.time_remaining()
        return None if left is None else float(left)

    def named(self, name: str) -> str:
        """Notes the model that is asked for, for the metrics."""
        self.model = name if name == self.service.settings.name else ""
        return name

    def is_authorized(self) -> bool:
        """Whether the call carries the token."""
        header = self._metadata.get("authorization")
        text = header if isinstance(header, str) or header is None else ""
        return is_authorized(text, self.service.settings.token)


Method = Callable[[Any, Call], Awaitable[Any]]


def answer(
    service: Service, protocol: str, name: str, method: Method, is_free: bool = False
) -> Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]]:
    """Makes a gRPC handler of a method that raises `RequestError`.

    Args:
        service: The model.
        protocol: Name of the protocol, for the metrics.
        name: Name of the method, for the metrics.
        method: Takes the request and the call, gives the response.
        is_free: Whether no token is asked for.
    """

    async def handle(request: Any, context: grpc.aio.ServicerContext) -> Any:
        started = time.monotonic()
        call = Call(service, context)
        code, message, response = Code.OK, "", None
        with service.flight():
            try:
                if not is_free and not call.is_authorized():
                    raise RequestError(
                        Code.UNAUTHENTICATED, "this server asks for 'authorization: Bearer TOKEN'"
                    )
                response = await method(request, call)
            except RequestError as error:
                code, message = error.code, error.message
            except Exception:
                log.exception("%s failed", name)
                code, message = Code.INTERNAL, "the server failed; its log says more"
        service.metrics.observe(
            protocol, name, call.model, call.version, code.name, time.monotonic() - started
        )
        if call.version:
            context.set_trailing_metadata(((VERSION_HEADER.lower(), call.version),))
        if code is not Code.OK:
            await context.abort(_STATUS[code.number], message)
        return response

    return handle
