"""Protocol-independent service: chooses versions, calls them, reports their status."""

from __future__ import annotations

import asyncio

from ordain.serving.server.codec.tensors import Arrays
from ordain.serving.server.errors import Code, RequestError, invalid, not_found
from ordain.serving.server.metrics import Metrics
from ordain.serving.server.models.reloader import Reloader
from ordain.serving.server.models.routing import OpenRequests, Routing, ServedVersion, VersionStatus
from ordain.serving.server.models.workers import Workers
from ordain.serving.server.settings import Settings


class Service:
    """One model behind all protocols.

    Attributes:
        settings: The server's settings.
        metrics: The server's metrics.
        is_draining: Whether the server is stopping: it still answers, but is not ready.
        open_requests: Open requests, which the drain waits for.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, reloader: Reloader, workers: Workers
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.is_draining = False
        self._reloader = reloader
        self._workers = workers
        self.open_requests = OpenRequests()
        metrics.in_flight.set_function(lambda: self.open_requests.count)

    @property
    def routing(self) -> Routing:
        """The current routing."""
        return self._reloader.routing

    @property
    def is_live(self) -> bool:
        """True if requests can be answered; if not, the server has to be restarted."""
        return not self._workers.is_exhausted

    @property
    def is_ready(self) -> bool:
        """True if requests should be sent here."""
        is_serving = not self.is_draining and self.is_live
        return is_serving and self.routing.stable is not None

    @property
    def problems(self) -> list[str]:
        """Readable faults: versions that are not served, blocked threads."""
        found = self._reloader.problems
        if self._workers.lost:
            blocked = f"{self._workers.lost} of {self._workers.most} threads"
            found.append(f"{blocked} are blocked in the model")
        return found

    @property
    def versions(self) -> list[int]:
        """Versions in memory, newest first."""
        return sorted(self.routing.loaded, reverse=True)

    async def call(
        self,
        served: ServedVersion,
        signature_name: str,
        given: Arrays,
        timeout_s: float | None = None,
    ) -> Arrays:
        """Calls a signature of a version.

        Args:
            served: A leased version.
            signature_name: One of its signatures.
            given: Inputs of the request.
            timeout_s: The client's deadline; the server's own limit applies as well.

        Raises:
            RequestError: The inputs do not fit, the queue is full, the time is up, or the model
                failed.
        """
        if self._workers.is_exhausted:
            raise RequestError(
                Code.UNAVAILABLE, "all threads are blocked in the model; restart the server"
            )
        signature = served.model.signature(signature_name)
        inputs, rows = signature.complete(given)
        if rows > self.settings.max_request_rows:
            raise invalid(
                f"the request has {rows} rows, allowed are {self.settings.max_request_rows}; "
                "split it"
            )
        limit = self.settings.request_timeout_s
        limit = limit if timeout_s is None else min(limit, timeout_s)
        try:
            async with asyncio.timeout(limit):
                return await served.batcher.run(signature, inputs, rows)
        except TimeoutError:
            raise RequestError(
                Code.DEADLINE_EXCEEDED, f"the model timed out after {limit:g} s"
            ) from None

    def status(self, name: str, version: int | None = None, label: str = "") -> list[VersionStatus]:
        """Status of one version, or of all, newest first.

        Raises:
            RequestError: There is no such model, version or label.
        """
        states = self._reloader.states
        if name != self.settings.name or not states:
            raise not_found(f"Could not find any versions of model {name}")
        if label:
            version = self.routing.choose(name, label=label).version
        if version is None:
            return [states[number] for number in sorted(states, reverse=True)]
        if version not in states:
            raise not_found(f"Could not find version {version} of model {name}")
        return [states[version]]

    def is_model_ready(self, name: str, version: int | None = None) -> bool:
        """True if a version, or the stable one, answers requests.

        Raises:
            RequestError: There is no model of that name.
        """
        if name != self.settings.name:
            raise not_found(f"Could not find any versions of model {name}")
        wanted = self.routing.stable if version is None else version
        return not self.is_draining and self.is_live and wanted in self.routing.loaded

    def why_not_ready(self, version: int | None = None) -> str:
        """Reason why a version, or the stable one, answers no requests, as far as known."""
        if self.is_draining:
            return "the server is stopping"
        if not self.is_live:
            return "all threads are blocked in the model"
        status = None if version is None else self._reloader.states.get(version)
        if status is None:
            return "it has no label, or does not exist"
        return status.message or f"it is {status.state}"
