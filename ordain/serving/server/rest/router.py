"""HTTP router: passes each request to the protocol of its path, and turns errors into responses.

Built on aiohttp's low-level server: its router does not match TensorFlow Serving's paths
(`NAME/versions/3:predict`), and bodies are read within the limits of `body.read_body`.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import hdrs, web

from ordain.serving.server import metrics
from ordain.serving.server.errors import Code, RequestError
from ordain.serving.server.request import REQUEST_ID_HEADER, VERSION_HEADER, Request
from ordain.serving.server.rest import json_text
from ordain.serving.server.rest.body import read_body
from ordain.serving.server.service import Service

JSON = "application/json"
#: The rest of the body is not read after these, so the connection is closed.
_CLOSING = (Code.PAYLOAD_TOO_LARGE, Code.REQUEST_TIMEOUT)


class HttpRequest(Request):
    """A request over HTTP.

    Attributes:
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
        self.verb = raw.method
        self.path = raw.path
        self._raw = raw

    async def read(self) -> bytes:
        """Reads the body, see `read_body`.

        Raises:
            RequestError: The body exceeds a limit or is damaged.
        """
        return await read_body(self._raw, self.service.settings)

    def header(self, name: str) -> str | None:
        """A header by name, or None."""
        return self._raw.headers.get(name)


@dataclass(frozen=True)
class Response:
    """Response to an `HttpRequest`.

    Attributes:
        body: Content.
        code: Outcome; decides the HTTP status.
        content_type: Media type of `body`.
    """

    body: bytes
    code: Code = Code.OK
    content_type: str = JSON


class Protocol:
    """One protocol over HTTP. The router takes the first whose `matches` is true."""

    #: Protocol label of the metrics.
    name = "http"

    def matches(self, path: str) -> bool:
        """True if the protocol handles a path."""
        raise NotImplementedError

    def is_public(self, path: str) -> bool:
        """True if a path needs no token."""
        del path
        return False

    async def respond(self, request: HttpRequest) -> Response:
        """Answers a request to one of the protocol's paths, and labels it for the metrics.

        Raises:
            RequestError: The request cannot be answered.
        """
        raise NotImplementedError


class Router:
    """Answers each HTTP request through the protocol of its path."""

    def __init__(self, service: Service, protocols: tuple[Protocol, ...]) -> None:
        self._service = service
        self._protocols = (*protocols, MetricsPage(service))

    async def handle(self, raw: web.BaseRequest) -> web.StreamResponse:
        """Answers one request and counts it in the metrics."""
        protocol = next((p for p in self._protocols if p.matches(raw.path)), None)
        request = HttpRequest(raw, self._service, protocol.name if protocol is not None else "http")
        response = Response(b"")
        with request.answering(f"{request.verb} {request.path}"):
            response = await _respond(protocol, request)
            request.code = response.code
        if request.error:
            response = error_response(request.code, request.error)
        return self._to_aiohttp(request, response)

    def _to_aiohttp(self, request: HttpRequest, response: Response) -> web.Response:
        made = web.Response(body=response.body, status=response.code.http)
        made.headers[hdrs.CONTENT_TYPE] = response.content_type
        if request.version:
            made.headers[VERSION_HEADER] = request.version
        if response.code is Code.UNAUTHENTICATED:
            made.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
        if response.code in (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE):
            made.headers[hdrs.RETRY_AFTER] = "1"
        if self._service.is_draining or response.code in _CLOSING:
            made.force_close()
        return made


async def _respond(protocol: Protocol | None, request: HttpRequest) -> Response:
    if protocol is None or not protocol.is_public(request.path):
        request.authorize()
    if protocol is None:
        raise RequestError(Code.NOT_FOUND, f"Malformed request: {request.verb} {request.path}")
    return await protocol.respond(request)


def error_response(code: Code, message: str) -> Response:
    """The response to a failed request: `{"error": ...}`, in every protocol."""
    return Response(json_text.write({"error": message}), code)


class MetricsPage(Protocol):
    """`/metrics`, for Prometheus."""

    name = "metrics"

    def __init__(self, service: Service) -> None:
        self._service = service

    def matches(self, path: str) -> bool:
        """True if the path is `/metrics`."""
        return path == "/metrics"

    async def respond(self, request: HttpRequest) -> Response:
        """Renders the metrics.

        Raises:
            RequestError: The HTTP method is not GET.
        """
        if request.verb != "GET":
            raise RequestError(Code.METHOD_NOT_ALLOWED, "/metrics takes GET")
        request.method = "metrics"
        return Response(self._service.metrics.render(), content_type=metrics.CONTENT_TYPE)
