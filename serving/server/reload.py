"""Following the serving directory: what its labels name is loaded, checked, warmed and switched to.

A version that does not pass is refused with its reason, in the log and on the status page, and
what was served goes on being served. It is tried again when its folder or the labels change.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from contracts.errors import InfrastructureError
from serving.label_file import LABELS_FILE, FollowedLabels, Labels
from serving.server.batching import Batcher, QueueLimit
from serving.server.checks import copy_checked
from serving.server.metrics import Metrics
from serving.server.model import LoadedModel, LoadError
from serving.server.settings import Settings
from serving.server.status import Code
from serving.server.versions import Routing, ServedVersion, State, VersionStatus
from serving.server.warmup import warm_up
from serving.trust import Trust
from serving.versions import list_versions

log = logging.getLogger("ordain.serve")

#: Ended versions that the status page remembers.
MAX_ENDED = 20

Fingerprint = tuple[object, ...]


class Reloader:
    """Keeps what is served equal to what the serving directory says.

    Attributes:
        routing: Where requests go now.
        states: What became of each version it met, by number.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        executor: Executor,
        public_key: Path | None = None,
    ) -> None:
        self.routing = Routing(settings.name)
        self.states: dict[int, VersionStatus] = {}
        self._settings = settings
        self._metrics = metrics
        self._executor = executor
        self._trust = Trust(settings.name, public_key)
        self._labels = FollowedLabels(settings.base, self._trust)
        self._limit = QueueLimit(settings.max_queue, metrics)
        # One at a time: two versions that load at once would double the memory it takes.
        self._loader = ThreadPoolExecutor(1, "load")
        self._refused: dict[int, Fingerprint] = {}
        self._former: list[int] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._seen: Fingerprint | None = None
        self._complaint = ""

    async def follow(self) -> None:
        """Looks at the directory again and again; ends when it is cancelled."""
        while True:
            await asyncio.sleep(self._settings.poll_s)
            try:
                await self.refresh()
            except Exception as error:
                # A disk that is away for a moment, say: what is in memory goes on being served.
                if str(error) != self._complaint:
                    log.error("the serving directory cannot be followed: %s", error)
                self._complaint = str(error)
            else:
                self._complaint = ""

    async def refresh(self) -> None:
        """Brings what is served up to what the directory says, if that has changed.

        Raises:
            InfrastructureError: The labels cannot be read.
        """
        base = self._settings.base
        seen = await asyncio.to_thread(_look, base)
        if seen == self._seen:
            return
        labels = await asyncio.to_thread(self._labels.read)
        present = await asyncio.to_thread(list_versions, base)
        loaded = dict(self.routing.loaded)
        for version in self._wanted(labels, present):
            if version not in loaded:
                served = await self._load(version)
                if served is not None:
                    loaded[version] = served
        self._switch(labels, present, loaded)
        self._seen = seen

    async def close(self) -> None:
        """Waits for the last request of each version and frees the threads."""
        for served in self.routing.loaded.values():
            self._retire(served)
        await asyncio.gather(*self._ending, return_exceptions=True)
        self._loader.shutdown(wait=False, cancel_futures=True)

    def _wanted(self, labels: Labels, present: Sequence[int]) -> list[int]:
        """Versions that have to be in memory, the most urgent first."""
        canary = labels.canary.version if labels.canary is not None else None
        named = [version for version in (labels.stable, canary) if version is not None]
        others = [v for v in reversed(present) if self._settings.all_versions and v not in named]
        return named + others

    async def _load(self, version: int) -> ServedVersion | None:
        """Loads a version, or refuses it; None if it was refused, now or before."""
        folder = self._settings.base / str(version)
        fingerprint = await asyncio.to_thread(_identify, folder)
        if self._refused.get(version) == fingerprint:
            return None
        self.states[version] = VersionStatus(version, State.LOADING)
        log.info("version %d: checking and loading", version)
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            model = await loop.run_in_executor(
                self._loader, load_version, folder, version, self._trust
            )
        except LoadError as error:
            self._refused[version] = fingerprint
            self.states[version] = VersionStatus(
                version, State.END, Code.FAILED_PRECONDITION, str(error)
            )
            self._metrics.reloads.labels("refused").inc()
            log.error("version %d is refused: %s", version, error)
            return None
        self._refused.pop(version, None)
        self.states[version] = VersionStatus(version, State.AVAILABLE)
        self._metrics.reloads.labels("loaded").inc()
        log.info("version %d: loaded and warm in %.1f s", version, time.monotonic() - started)
        batcher = Batcher(model.run, self._executor, self._limit, self._settings, self._metrics)
        return ServedVersion(model, batcher)

    def _switch(
        self, labels: Labels, present: Sequence[int], loaded: dict[int, ServedVersion]
    ) -> None:
        """Makes the new routing, puts it in place, and lets go of what it does not hold."""
        old = self.routing
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
                self._retire(served)

    def _forget(self, present: Sequence[int]) -> None:
        """Drops what is known of versions that are neither in the directory nor in memory."""
        gone = set(self.states) - set(present) - set(self.routing.loaded)
        for version in gone:
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

    def _retire(self, served: ServedVersion) -> None:
        self.states[served.version] = VersionStatus(served.version, State.UNLOADING)

        task = asyncio.create_task(self._end(served))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, served: ServedVersion) -> None:
        await served.end()
        version = served.version
        del served
        # TensorFlow's functions hold each other in circles.
        gc.collect()
        if version not in self.routing.loaded:
            self.states[version] = VersionStatus(version, State.END)
            log.info("version %d: unloaded", version)
        ended = [v for v, status in self.states.items() if status.state is State.END]
        for old in ended[:-MAX_ENDED]:
            del self.states[old]


def load_version(folder: Path, version: int, trust: Trust | None) -> LoadedModel:
    """Copies, checks, loads and warms a version, in this order; the copy goes with the model.

    Raises:
        LoadError: It does not pass, or cannot be loaded.
    """
    try:
        copy = copy_checked(folder, trust)
    except InfrastructureError as error:
        raise LoadError(error.message) from error
    except OSError as error:
        raise LoadError(str(error)) from error
    try:
        model = LoadedModel(copy.folder, version)
        warm_up(model, copy.folder)
    except BaseException:
        copy.remove()
        raise
    weakref.finalize(model, copy.remove)
    return model


def _look(base: Path) -> Fingerprint:
    """What tells one state of the directory from another, cheap enough to be asked all the time."""
    return (_stat(base / LABELS_FILE), *(_stat(base / str(v)) for v in list_versions(base)))


def _identify(folder: Path) -> Fingerprint:
    """What tells one content of a version's folder from another, as far as its entries say."""
    with contextlib.suppress(OSError, RecursionError):
        return tuple(sorted((str(path), *_stat(path)) for path in folder.rglob("*")))
    return ()


def _stat(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return (found.st_ino, found.st_mtime_ns, found.st_size)
