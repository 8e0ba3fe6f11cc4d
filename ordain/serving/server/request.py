"""One request to the server: authorization, version lease, outcome, metrics.

Shared by REST and gRPC, so that both count, authorize and fail requests alike.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator

from ordain.serving.server.errors import Code, RequestError
from ordain.serving.server.models.routing import ServedVersion
from ordain.serving.server.security import is_authorized
from ordain.serving.server.service import Service

log = logging.getLogger("ordain.serve")

#: Header (or gRPC metadata) that names the version that responded.
VERSION_HEADER = "X-Model-Version"
#: Header (or gRPC metadata) that keeps a client on one side of the canary split.
REQUEST_ID_HEADER = "X-Request-Id"


class Request:
    """One request of any protocol.

    Attributes:
        service: The model behind all protocols.
        protocol: Protocol label of the metrics.
        method: Method label of the metrics.
        request_id: The client's id of the request, or empty.
        model: Model label of the metrics: the served model's name, or empty.
        version: The version that answers, or empty before one is leased.
        code: Outcome.
        error: Error message; empty if the request succeeded.
    """

    def __init__(
        self,
        service: Service,
        protocol: str,
        method: str,
        request_id: str,
        authorization: str | None,
    ) -> None:
        self.service = service
        self.protocol = protocol
        self.method = method
        self.request_id = request_id
        self.model = ""
        self.version = ""
        self.code = Code.OK
        self.error = ""
        self._authorization = authorization

    @property
    def is_authorized(self) -> bool:
        """True if the request carries the server's token, or none is required."""
        return is_authorized(self._authorization, self.service.settings.token)

    def authorize(self) -> None:
        """Rejects a request without the server's token.

        Raises:
            RequestError: The token is missing or wrong.
        """
        if not self.is_authorized:
            raise RequestError(
                Code.UNAUTHENTICATED,
                "missing or invalid bearer token; send 'Authorization: Bearer TOKEN'",
            )

    def set_model(self, name: str) -> str:
        """Labels the metrics with the requested model, if it is the served one; returns `name`."""
        self.model = name if name == self.service.settings.name else ""
        return name

    @contextlib.contextmanager
    def lease(
        self, name: str, version: int | None, label: str = "", request_id: str | None = None
    ) -> Iterator[ServedVersion]:
        """Chooses the version that answers, and keeps it in memory until the end.

        The arguments are those of `Routing.choose`.

        Raises:
            RequestError: No such model, version or label is served.
        """
        routing = self.service.routing
        served = routing.choose(self.set_model(name), version, label, request_id)
        self.version = str(served.version)
        with served.open_requests.one():
            yield served

    @contextlib.contextmanager
    def recorded(self, what: str) -> Iterator[None]:
        """Counts the request, and records in `code` and `error` why it failed.

        Args:
            what: The request, for the log.
        """
        started = time.monotonic()
        with self.service.open_requests.one():
            try:
                yield
            except RequestError as error:
                self.code, self.error = error.code, error.message
            except Exception:
                log.exception("%s failed", what)
                self.code, self.error = Code.INTERNAL, "internal server error; see the server's log"
        seconds = time.monotonic() - started
        self.service.metrics.requests.labels(
            self.model, self.version, self.protocol, self.method, self.code.name
        ).inc()
        self.service.metrics.seconds.labels(self.protocol, self.method).observe(seconds)
