"""HTTP router: passes each request to the protocol of its path, and turns errors into responses.

Built on aiohttp's low-level server: its router does not match TensorFlow Serving's paths
(`NAME/versions/3:predict`), and bodies are read within the limits of `body.read_body`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import hdrs, web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ordain.serving.server.errors import Code, RequestError
from ordain.serving.server.request import REQUEST_ID_HEADER, VERSION_HEADER, Request
from ordain.serving.server.rest import json_text
from ordain.serving.server.service import Service

#: Health needs no token.
_PUBLIC = re.compile(r"/v2/health/.*|/v2/models/[^/]+(/versions/[^/]+)?/ready")
#: The rest of the body is not read after these, so the connection is closed.
_CLOSING = (Code.PAYLOAD_TOO_LARGE, Code.REQUEST_TIMEOUT)


class HttpRequest(Request):
    """A request over HTTP.

    Attributes:
        raw: aiohttp's request.
        verb: `GET`, `POST` or another HTTP method.
        path: The decoded path, without the query.
    """

    def __init__(self, raw: web.BaseRequest, service: Service, protocol: str) -> None:
        super().__init__(
            service,
            protocol,
            "other",
            raw.headers.get(REQUEST_ID_HEADER, ""),
            raw.headers.get(hdrs.AUTHORIZATION),
        )
        self.raw = raw
        self.verb = raw.method
        self.path = raw.path

    def require_verb(self, verb: str) -> None:
        """Rejects another HTTP method.

        Raises:
            RequestError: The request has another one.
        """
        if self.verb != verb:
            raise RequestError(Code.METHOD_NOT_ALLOWED, f"{self.path} takes {verb}")


#: Returns a response's JSON document, or the metrics page. It labels the request for the metrics,
#: sets its `code` if the document reports a fault, and raises `RequestError` if there is none.
Respond = Callable[[HttpRequest], Awaitable[dict[str, Any] | bytes]]


class Router:
    """Answers each HTTP request through the protocol of its path."""

    def __init__(self, service: Service, protocols: Mapping[str, Respond]) -> None:
        """Creates it from protocols by the first folder of their paths."""
        self._service = service
        self._protocols = {**protocols, "metrics": _metrics}

    async def handle(self, raw: web.BaseRequest) -> web.StreamResponse:
        """Answers one request and counts it in the metrics."""
        names = (name for name in self._protocols if f"{raw.path}/".startswith(f"/{name}/"))
        protocol = next(names, "http")
        request = HttpRequest(raw, self._service, protocol)
        document: dict[str, Any] | bytes = {}
        with request.recorded(f"{request.verb} {request.path}"):
            if not _PUBLIC.fullmatch(request.path):
                request.authorize()
            document = await self._protocols.get(protocol, _nothing)(request)
        return self._response(request, {"error": request.error} if request.error else document)

    def _response(self, request: HttpRequest, document: dict[str, Any] | bytes) -> web.Response:
        is_page = isinstance(document, bytes)
        response = web.Response(
            body=document if is_page else json_text.write(document),
            status=request.code.http,
            headers={hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST if is_page else "application/json"},
        )
        if request.version:
            response.headers[VERSION_HEADER] = request.version
        if request.code is Code.UNAUTHENTICATED:
            response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
        if request.code in (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE):
            response.headers[hdrs.RETRY_AFTER] = "1"
        if self._service.is_draining or request.code in _CLOSING:
            response.force_close()
        return response


async def _nothing(request: HttpRequest) -> bytes:
    raise RequestError(Code.NOT_FOUND, f"Malformed request: {request.verb} {request.path}")


async def _metrics(request: HttpRequest) -> bytes:
    if request.path != "/metrics":
        return await _nothing(request)
    request.require_verb("GET")
    request.method = "metrics"
    return bytes(generate_latest(request.service.metrics.registry))
