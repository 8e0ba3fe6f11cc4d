"""Hot reload: loads, checks and warms the labelled versions, and switches the routing to them.

Loads run in the background: labels take effect at once for versions in memory, and a version that
hangs while it loads delays nothing else. A version that fails is refused with a reason, in the log
and on the status page, while the previous one keeps serving. It is tried again when its folder or
the labels change.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Iterable
from functools import partial

from ordain.errors import OrdainError
from ordain.serving.registry.label_file import STABLE
from ordain.serving.registry.trust import Trust
from ordain.serving.server.errors import Code
from ordain.serving.server.metrics import Metrics
from ordain.serving.server.models.batching import Batcher, QueueLimit
from ordain.serving.server.models.load_trial import Trials
from ordain.serving.server.models.loading import Fingerprint, Loader, load_version
from ordain.serving.server.models.routing import Routing, ServedVersion, State, VersionStatus
from ordain.serving.server.models.signature_defs import LoadError
from ordain.serving.server.models.snapshot import DirectoryReader, Snapshot
from ordain.serving.server.models.workers import Workers
from ordain.serving.server.settings import Settings

log = logging.getLogger("ordain.serve")

#: Seconds between two checks of labels and versions.
POLL_S = 0.2


class Reloader:
    """Keeps the served versions in step with the labels of the serving directory.

    Attributes:
        routing: The current routing.
        states: State of each known version, by number.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        workers: Workers,
        trust: Trust | None = None,
        trials: Trials | None = None,
    ) -> None:
        self.routing = Routing(settings.name)
        self.states: dict[int, VersionStatus] = {}
        self._settings = settings
        self._metrics = metrics
        self._reader = DirectoryReader(settings.base, trust)
        self._workers = workers
        self._limit = QueueLimit(settings.max_queue, metrics)
        load = partial(load_version, trust=trust)
        self._loader = Loader(load, trials, settings, metrics)
        self._loading: dict[int, asyncio.Task[None]] = {}
        self._snapshot = Snapshot()
        self._contents: dict[int, Fingerprint] = {}
        self._refused: dict[int, tuple[Fingerprint, Fingerprint]] = {}
        self._former: list[int] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._fault = ""
        self._is_closed = False

    @property
    def problems(self) -> list[str]:
        """Differences between the labels and what is served, each with its reason."""
        found = []
        if self._fault:
            found.append(f"the serving directory cannot be followed: {self._fault}")
        for version, label in self._snapshot.labelled:
            status = self.states.get(version)
            if version in self.routing.loaded:
                continue
            why = status.message if status is not None else ""
            found.append(
                f"version {version} ({label}) is not served: {why or 'it is being loaded'}"
            )
        return found + self._loader.problems

    async def start(self) -> None:
        """Loads the stable version; the others follow once it serves.

        Raises:
            InfrastructureError: The labels cannot be read.
        """
        await self.refresh()
        while (loading := self._loading.get(self._snapshot.labels.stable or 0)) is not None:
            await asyncio.wait({loading})

    async def follow(self) -> None:
        """Polls the directory until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.refresh()
            except Exception as error:
                # For example a disk that is briefly away: versions in memory keep serving.
                fault = _in_one_line(error)
                if fault != self._fault:
                    log.error("the serving directory cannot be followed: %s", fault)
                self._fault = fault
            else:
                if self._fault:
                    log.info("the serving directory can be followed again")
                self._fault = ""

    async def refresh(self) -> None:
        """Follows the directory if it has changed: starts loads, and routes to what is loaded.

        Raises:
            InfrastructureError: The labels cannot be read, or the directory is gone.
        """
        snapshot = await self._reader.read(self._snapshot, bool(self.routing.loaded))
        wanted = snapshot.wanted(self._settings.all_versions)
        pending = [version for version, _ in wanted if version not in self.routing.loaded]
        contents = await self._reader.contents(pending)
        if snapshot is self._snapshot and contents == self._contents:
            return
        self._snapshot, self._contents = snapshot, contents
        self._schedule()

    async def close(self) -> None:
        """Starts no further load, and cancels running ones with their trial processes."""
        self._is_closed = True
        tasks = list(self._loading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _schedule(self) -> None:
        """Starts loads that are due, cancels unwanted ones, and updates the routing."""
        if self._is_closed:
            return
        wanted = dict(self._snapshot.wanted(self._settings.all_versions))
        for version in self._loading.keys() - wanted.keys():
            self._loading[version].cancel()
        busy = {wanted[version] for version in self._loading if version in wanted}
        is_first = self.routing.stable is None
        for version, label in wanted.items():
            if version in self.routing.loaded or version in self._loading:
                continue
            # One load per label at a time, so that a hanging canary does not delay the stable
            # version. At the start the stable version loads first, alone.
            if self._is_refused(version) or label in busy or (is_first and STABLE in busy):
                continue
            busy.add(label)
            self._loading[version] = asyncio.create_task(self._load(version))
        self._switch(dict(self.routing.loaded))

    def _is_refused(self, version: int) -> bool:
        """True if a version was refused and neither its content nor the labels changed since."""
        now = self._contents.get(version, ()), self._snapshot.labels_fingerprint
        return self._refused.get(version) == now

    async def _load(self, version: int) -> None:
        """Loads a version, or refuses it."""
        content = self._contents.get(version, ())
        self.states[version] = VersionStatus(version, State.LOADING)
        log.info("version %d: checking and loading", version)
        started = time.monotonic()
        try:
            folder = self._settings.base / str(version)
            model = await self._loader.load(folder, version, content)
        except LoadError as error:
            self._refuse(version, content, str(error))
        except asyncio.CancelledError:
            why = "the server stops" if self._is_closed else "it has no label any more"
            log.info("version %d: load cancelled: %s", version, why)
            self.states.pop(version, None)
        except Exception as error:
            log.exception("version %d", version)
            self._refuse(version, content, f"{type(error).__name__}: {_in_one_line(error)}")
        else:
            self._refused.pop(version, None)
            self.states[version] = VersionStatus(version, State.AVAILABLE)
            self._metrics.reloads.labels("loaded").inc()
            log.info("version %d: loaded and warm in %.1f s", version, time.monotonic() - started)
            batcher = Batcher(model.run, self._workers, self._limit, self._settings, self._metrics)
            served = ServedVersion(model, batcher)
            self._switch({**self.routing.loaded, version: served})
        finally:
            del self._loading[version]
        self._schedule()

    def _refuse(self, version: int, content: Fingerprint, reason: str) -> None:
        self._refused[version] = content, self._snapshot.labels_fingerprint
        self.states[version] = VersionStatus(version, State.END, Code.FAILED_PRECONDITION, reason)
        self._metrics.reloads.labels("refused").inc()
        log.error("version %d is refused: %s", version, reason)

    def _switch(self, loaded: dict[int, ServedVersion]) -> None:
        """Replaces the routing, and unloads the versions that it no longer holds."""
        old = self.routing
        labels, present = self._snapshot.labels, self._snapshot.present
        stable = labels.stable if labels.stable in loaded else old.stable
        canary = labels.canary
        if canary is not None and canary.version not in loaded:
            canary = None
        labelled = [stable] + ([canary.version] if canary is not None else [])
        self._former = [v for v in old.labels().values() if v not in labelled] + [
            v for v in self._former if v not in labelled and v not in old.labels().values()
        ]
        self._former = [v for v in self._former if v in present and v in loaded]
        self._former = self._former[: self._settings.keep_loaded]
        keep = {*labelled, *self._former, *(present if self._settings.all_versions else ())}
        self.routing = Routing(
            name=old.name,
            stable=stable,
            canary=canary.version if canary is not None else None,
            share=canary.share if canary is not None else 0.0,
            loaded={version: served for version, served in loaded.items() if version in keep},
        )
        self._forget(present)
        self._report(old)
        for version, served in loaded.items():
            if version not in keep:
                self.states[version] = VersionStatus(version, State.UNLOADING)
                task = asyncio.create_task(self._end(served))
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    def _forget(self, present: Iterable[int]) -> None:
        """Drops states of versions that are neither in the directory nor in memory."""
        gone = set(self.states) - set(present) - set(self.routing.loaded)
        for version in gone - set(self._loading):
            if self.states[version].state is State.END:
                del self.states[version]
                self._refused.pop(version, None)

    def _report(self, old: Routing) -> None:
        new = self.routing
        if (old.stable, old.canary, old.share) != (new.stable, new.canary, new.share):
            canary = f", canary {new.canary} with {new.share:.1%}" if new.canary else ""
            log.info("serving version %s (stable)%s", new.stable, canary)
        self._metrics.loaded.clear()
        for version in new.loaded:
            self._metrics.loaded.labels(str(version)).set(1)
        self._metrics.labels.clear()
        for label, version in new.labels().items():
            self._metrics.labels.labels(label).set(version)

    async def _end(self, served: ServedVersion) -> None:
        await served.end()
        version = served.version
        del served
        # TensorFlow's functions reference each other in cycles.
        gc.collect()
        if version not in self.routing.loaded and version not in self._loading:
            self.states[version] = VersionStatus(version, State.END)
            log.info("version %d: unloaded", version)


def _in_one_line(error: Exception) -> str:
    """Formats an error for the status page and the log."""
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename or 'a file'} cannot be read: {error.strerror}"
    elif isinstance(error, OrdainError):
        text = f"{error.message} ({error.hint})" if error.hint else error.message
    else:
        text = str(error)
    return " ".join(text.split()) or type(error).__name__
