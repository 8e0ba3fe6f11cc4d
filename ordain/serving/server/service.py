"""What every protocol asks of the server: choose a version, call it, say how it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from ordain.serving.server.codec.tensors import Arrays
from ordain.serving.server.errors import Code, RequestError, invalid, not_found
from ordain.serving.server.metrics import Metrics
from ordain.serving.server.models.reloader import Reloader
from ordain.serving.server.models.routing import ServedVersion, VersionStatus
from ordain.serving.server.models.workers import Workers
from ordain.serving.server.settings import Settings


class Service:
    """One model behind all protocols.

    Attributes:
        settings: What the server was started with.
        metrics: Where requests are counted.
        is_draining: Whether the server is about to end: it answers, but is not ready any more.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, reloader: Reloader, workers: Workers
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.is_draining = False
        self._reloader = reloader
        self._workers = workers
        self._in_flight = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @property
    def is_live(self) -> bool:
        """True if it can answer at all; if not, only a restart helps."""
        return not self._workers.is_exhausted

    @property
    def is_ready(self) -> bool:
        """Whether requests should be sent here."""
        is_serving = not self.is_draining and self.is_live
        return is_serving and self._reloader.routing.stable is not None

    @property
    def problems(self) -> list[str]:
        """Faults for a person to read: versions not served, threads lost."""
        found = self._reloader.problems
        if self._workers.lost:
            found.append(f"{self._workers.lost} of {self._workers.most} threads hang in the model")
        return found

    @property
    def versions(self) -> list[int]:
        """Versions in memory, newest first."""
        return sorted(self._reloader.routing.loaded, reverse=True)

    @contextlib.contextmanager
    def flight(self) -> Iterator[None]:
        """Counts a request that is being answered, for the drain to wait for."""
        self._in_flight += 1
        self._is_idle.clear()
        self.metrics.in_flight.set(self._in_flight)
        try:
            yield
        finally:
            self._in_flight -= 1
            self.metrics.in_flight.set(self._in_flight)
            if not self._in_flight:
                self._is_idle.set()

    async def drained(self, timeout_s: float) -> bool:
        """Waits until nothing is being answered; False if that took too long."""
        try:
            await asyncio.wait_for(self._is_idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    @contextlib.contextmanager
    def lease(
        self, name: str, version: int | None = None, label: str = "", request_id: str | None = ""
    ) -> Iterator[ServedVersion]:
        """The version that answers a request, kept in memory until the request is answered.

        The arguments are those of `Routing.choose`.

        Raises:
            RequestError: Nothing of that name, version or label is served.
        """
        chosen = self._reloader.routing.choose(name, version, label, request_id)
        with chosen.lease():
            yield chosen

    async def call(
        self,
        served: ServedVersion,
        signature_name: str,
        given: Arrays,
        timeout_s: float | None = None,
    ) -> Arrays:
        """Asks a version.

        Args:
            served: A leased version.
            signature_name: One of its signatures.
            given: What the request gave.
            timeout_s: What the client will wait; the server's own limit holds as well.

        Raises:
            RequestError: The inputs do not fit, the queue is full, time is up, or the model
                refused.
        """
        if self._workers.is_exhausted:
            raise RequestError(
                Code.UNAVAILABLE, "every thread hangs in the model; the server has to be restarted"
            )
        signature = served.model.signature(signature_name)
        inputs, rows = signature.complete(given)
        if rows > self.settings.max_request_rows:
            raise invalid(
                f"the request holds {rows} rows, and {self.settings.max_request_rows} are allowed; "
                "split it"
            )
        limit = self.settings.request_timeout_s
        limit = limit if timeout_s is None else min(limit, timeout_s)
        try:
            async with asyncio.timeout(limit):
                return await served.batcher.run(signature, inputs, rows)
        except TimeoutError:
            raise RequestError(
                Code.DEADLINE_EXCEEDED, f"the model did not answer within {limit:g} s"
            ) from None

    def status(self, name: str, version: int | None = None, label: str = "") -> list[VersionStatus]:
        """What is known of one version, or of all, newest first.

        Raises:
            RequestError: There is no such model, version or label.
        """
        states = self._reloader.states
        if name != self.settings.name or not states:
            raise not_found(f"Could not find any versions of model {name}")
        if label:
            version = self._reloader.routing.choose(name, label=label).version
        if version is None:
            return [states[number] for number in sorted(states, reverse=True)]
        if version not in states:
            raise not_found(f"Could not find version {version} of model {name}")
        return [states[version]]

    def is_model_ready(self, name: str, version: int | None = None) -> bool:
        """Whether a version, or the stable one, answers requests.

        Raises:
            RequestError: There is no model of that name.
        """
        if name != self.settings.name:
            raise not_found(f"Could not find any versions of model {name}")
        routing = self._reloader.routing
        wanted = routing.stable if version is None else version
        return not self.is_draining and self.is_live and wanted in routing.loaded

    def why_not_ready(self, version: int | None = None) -> str:
        """Why a version, or the stable one, answers no requests, as far as it is known."""
        if self.is_draining:
            return "the server is ending"
        if not self.is_live:
            return "every thread hangs in the model"
        status = None if version is None else self._reloader.states.get(version)
        if status is None:
            return "no label stands on it, or there is no such version"
        return status.message or f"it is {status.state}"
