"""The HTTP side: who answers which path, and one answer for whatever becomes of a request.

aiohttp's low-level server is used, because the paths (`NAME/versions/3:predict`) are TF Serving's
and each body is read by code of ours, within limits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from aiohttp import hdrs, web

from ordain.serving.server import metrics
from ordain.serving.server.errors import Code, RequestError
from ordain.serving.server.rest import json_text
from ordain.serving.server.rest.body import read_body
from ordain.serving.server.security import is_authorized
from ordain.serving.server.service import Service

log = logging.getLogger("ordain.serve")

JSON = "application/json"
#: Header that names the version that answered.
VERSION_HEADER = "X-Model-Version"
#: Header by which a client keeps to one side of the canary's share.
REQUEST_ID_HEADER = "X-Request-Id"


@dataclass(frozen=True)
class Asked:
    """A request as the protocols see it.

    Attributes:
        method: `GET`, `POST` or another.
        path: The path, decoded, without the query.
        request_id: What the client calls the request, or empty.
        read: Reads the body; may raise a `RequestError`.
        header: A header by name, or None.
    """

    method: str
    path: str
    request_id: str
    read: Callable[[], Awaitable[bytes]]
    header: Callable[[str], str | None]


@dataclass(frozen=True)
class Answer:
    """What a request is answered with.

    Attributes:
        body: The document.
        code: OK, or why not.
        protocol: Which protocol answered, for the metrics.
        method: What was asked, for the metrics.
        model: The model, for the metrics: the served one's name, or empty.
        version: The version that answered, or empty.
        content_type: Type of `body`.
    """

    body: bytes
    code: Code = Code.OK
    protocol: str = "http"
    method: str = "other"
    model: str = ""
    version: str = ""
    content_type: str = JSON


class Protocol:
    """One protocol over HTTP; the tuple of them is asked in turn."""

    #: Name in the metrics.
    name = "http"

    def knows(self, path: str) -> bool:
        """Whether a path is this protocol's."""
        raise NotImplementedError

    def is_free(self, path: str) -> bool:
        """Whether a path is answered without a token."""
        del path
        return False

    async def answer(self, asked: Asked) -> Answer:
        """Answers a request to one of its paths.

        Raises:
            RequestError: It cannot be answered.
        """
        raise NotImplementedError


class Front:
    """Answers each HTTP request by the protocol that knows its path."""

    def __init__(self, service: Service, protocols: tuple[Protocol, ...]) -> None:
        self._service = service
        self._protocols = (*protocols, MetricsPage(service))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request is one answer and one line in the metrics."""
        started = time.monotonic()
        with self._service.flight():
            answer = await self._answer(request)
        self._service.metrics.observe(
            answer.protocol,
            answer.method,
            answer.model,
            answer.version,
            answer.code.name,
            time.monotonic() - started,
        )
        response = web.Response(body=answer.body, status=answer.code.http)
        response.headers[hdrs.CONTENT_TYPE] = answer.content_type
        if answer.version:
            response.headers[VERSION_HEADER] = answer.version
        if answer.code is Code.UNAUTHENTICATED:
            response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
        if answer.code in (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE):
            response.headers[hdrs.RETRY_AFTER] = "1"
        if self._service.is_draining or answer.code in _CLOSING:
            response.force_close()
        return response

    async def _answer(self, request: web.BaseRequest) -> Answer:
        path = request.path
        protocol = next((p for p in self._protocols if p.knows(path)), None)
        answer = Answer(b"", protocol=protocol.name if protocol is not None else "http")
        settings = self._service.settings
        try:
            free = protocol is not None and protocol.is_free(path)
            header = request.headers.get(hdrs.AUTHORIZATION)
            if not free and not is_authorized(header, settings.token):
                raise RequestError(
                    Code.UNAUTHENTICATED, "this server asks for 'Authorization: Bearer TOKEN'"
                )
            if protocol is None:
                raise RequestError(Code.NOT_FOUND, f"Malformed request: {request.method} {path}")
            asked = Asked(
                request.method,
                path,
                request.headers.get(REQUEST_ID_HEADER, ""),
                lambda: read_body(request, settings),
                request.headers.get,
            )
            return await protocol.answer(asked)
        except RequestError as error:
            return failure(answer, error)
        except Exception:
            log.exception("%s %s failed", request.method, path)
            broken = RequestError(Code.INTERNAL, "the server failed; its log says more")
            return failure(answer, broken)


#: After these the rest of the body is not worth reading, or is not to be trusted.
_CLOSING = (Code.PAYLOAD_TOO_LARGE, Code.REQUEST_TIMEOUT)


def failure(answer: Answer, error: RequestError) -> Answer:
    """The answer to a request that failed: `{"error": ...}`, in every protocol."""
    return replace(answer, body=json_text.write({"error": error.message}), code=error.code)


class MetricsPage(Protocol):
    """`/metrics`, for Prometheus."""

    name = "metrics"

    def __init__(self, service: Service) -> None:
        self._service = service

    def knows(self, path: str) -> bool:
        """Whether this is the page."""
        return path == "/metrics"

    async def answer(self, asked: Asked) -> Answer:
        """The page.

        Raises:
            RequestError: It is not asked for with GET.
        """
        if asked.method != "GET":
            raise RequestError(Code.METHOD_NOT_ALLOWED, "/metrics is read with GET")
        return Answer(
            self._service.metrics.render(),
            protocol=self.name,
            method="metrics",
            content_type=metrics.CONTENT_TYPE,
        )
