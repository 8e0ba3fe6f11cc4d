"""Following the serving directory: what its labels name is loaded, checked, warmed and switched to.

Loads run beside all else: labels take effect at once for what is in memory, and a version that
hangs while it is loaded holds nothing up. A version that does not pass is refused with its reason,
in the log and on the status page, and what was served goes on being served. It is tried again when
its folder or the labels change.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ordain.errors import InfrastructureError, OrdainError
from ordain.serving.registry.label_file import CANARY, LABELS_FILE, STABLE, FollowedLabels, Labels
from ordain.serving.registry.trust import Trust
from ordain.serving.registry.versions import list_versions
from ordain.serving.server.errors import Code
from ordain.serving.server.metrics import Metrics
from ordain.serving.server.models.batching import Batcher, QueueLimit
from ordain.serving.server.models.load_trial import Trials
from ordain.serving.server.models.loading import Fingerprint, Loader, load_version
from ordain.serving.server.models.routing import Routing, ServedVersion, State, VersionStatus
from ordain.serving.server.models.signature_defs import LoadError
from ordain.serving.server.models.workers import Workers
from ordain.serving.server.settings import Settings

log = logging.getLogger("ordain.serve")

#: Ended versions that the status page remembers.
MAX_ENDED = 20


@dataclass(frozen=True)
class _Directory:
    """The serving directory at one instant.

    Attributes:
        seen: What tells it from other states, cheap enough to be asked all the time.
        labels: Its labels.
        present: Its versions, oldest first.
    """

    seen: Fingerprint = ()
    labels: Labels = field(default_factory=Labels)
    present: tuple[int, ...] = ()


@dataclass
class _Loading:
    """A version that is being loaded, for the label `role`, or for none."""

    role: str
    task: asyncio.Task[None]


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
        workers: Workers,
        trust: Trust | None = None,
        trials: Trials | None = None,
    ) -> None:
        self.routing = Routing(settings.name)
        self.states: dict[int, VersionStatus] = {}
        self._settings = settings
        self._metrics = metrics
        self._labels = FollowedLabels(settings.base, trust)
        self._workers = workers
        self._limit = QueueLimit(settings.max_queue, metrics)
        load = partial(load_version, trust=trust)
        self._loader = Loader(load, trials, settings, metrics)
        self._loading: dict[int, _Loading] = {}
        self._directory = _Directory()
        self._contents: dict[int, Fingerprint] = {}
        self._refused: dict[int, tuple[Fingerprint, Fingerprint]] = {}
        self._former: list[int] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._complaint = ""
        self._is_closed = False

    @property
    def problems(self) -> list[str]:
        """Why the directory is not served as its labels say, for a person."""
        found = []
        if self._complaint:
            found.append(f"the serving directory cannot be followed: {self._complaint}")
        for version, label in _labelled(self._directory.labels):
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
        while (loading := self._loading.get(self._directory.labels.stable or 0)) is not None:
            await asyncio.wait({loading.task})

    async def follow(self) -> None:
        """Looks at the directory again and again; ends when it is cancelled."""
        while True:
            await asyncio.sleep(self._settings.poll_s)
            try:
                await self.refresh()
            except Exception as error:
                # A disk that is away for a moment, say: what is in memory goes on being served.
                complaint = _in_one_line(error)
                if complaint != self._complaint:
                    log.error("the serving directory cannot be followed: %s", complaint)
                self._complaint = complaint
            else:
                if self._complaint:
                    log.info("the serving directory can be followed again")
                self._complaint = ""

    async def refresh(self) -> None:
        """Follows the directory if it has changed: begins loads, and switches to what is loaded.

        Raises:
            InfrastructureError: The labels cannot be read, or nothing is there any more.
        """
        base = self._settings.base
        seen = await asyncio.to_thread(_look, base)
        self._check_there(seen[1:])
        directory = self._directory
        if seen != directory.seen:
            labels = await asyncio.to_thread(self._labels.read)
            present = tuple(await asyncio.to_thread(list_versions, base))
            self._check_there(present)  # it may have gone while the labels were read
            directory = _Directory(seen, labels, present)
        pending = [v for v, _ in self._wanted(directory) if v not in self.routing.loaded]
        contents = await asyncio.to_thread(_identify_all, base, pending)
        if directory is self._directory and contents == self._contents:
            return
        self._directory, self._contents = directory, contents
        self._settle()

    async def close(self) -> None:
        """Begins no further load, and ends those that are under way, with their trials."""
        self._is_closed = True
        tasks = [loading.task for loading in self._loading.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _check_there(self, versions: Sequence[object]) -> None:
        """Tells a directory that is gone from one whose labels say that nothing is served.

        A folder that is moved, a disk that is no longer mounted: read as they are, they hold no
        version and no label. What is labelled is never pruned, so no directory becomes empty.

        Raises:
            InfrastructureError: Versions are in memory, and there is none in the directory.
        """
        if self.routing.loaded and not versions:
            raise InfrastructureError(
                f"{self._settings.base} is gone or holds no version any more; labels and loaded "
                "versions stay as they are until it is back"
            )

    def _wanted(self, directory: _Directory) -> list[tuple[int, str]]:
        """Versions that have to be in memory, with their labels; the most urgent first."""
        named = _labelled(directory.labels)
        if not self._settings.all_versions:
            return named
        labelled = {version for version, _ in named}
        return named + [(v, "") for v in reversed(directory.present) if v not in labelled]

    def _settle(self) -> None:
        """Begins the loads that are due, ends those that nobody wants, switches to the rest."""
        if self._is_closed:
            return
        wanted = dict(self._wanted(self._directory))
        for version, loading in self._loading.items():
            if version in wanted:
                loading.role = wanted[version]
            else:
                loading.task.cancel()
        busy = {self._loading[v].role for v in self._loading if v in wanted}
        is_first = self.routing.stable is None
        for version, role in wanted.items():
            if version in self.routing.loaded or version in self._loading:
                continue
            # One at a time for each label: a canary that hangs does not hold up the stable version.
            # And at the start the stable version first, alone.
            if self._is_refused(version) or role in busy or (is_first and STABLE in busy):
                continue
            busy.add(role)
            self._loading[version] = _Loading(role, asyncio.create_task(self._load(version)))
        self._switch(dict(self.routing.loaded))

    def _is_refused(self, version: int) -> bool:
        """True if a version was refused, and neither its content nor the labels changed since."""
        now = self._contents.get(version, ()), self._directory.seen[:1]
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
            why = "the server ends" if self._is_closed else "no label stands on it any more"
            log.info("version %d: %s; its load is given up", version, why)
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
        self._settle()

    def _refuse(self, version: int, content: Fingerprint, reason: str) -> None:
        self._refused[version] = content, self._directory.seen[:1]
        self.states[version] = VersionStatus(version, State.END, Code.FAILED_PRECONDITION, reason)
        self._metrics.reloads.labels("refused").inc()
        log.error("version %d is refused: %s", version, reason)

    def _switch(self, loaded: dict[int, ServedVersion]) -> None:
        """Makes the new routing, puts it in place, and lets go of what it does not hold."""
        old = self.routing
        labels, present = self._directory.labels, self._directory.present
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

    def _forget(self, present: Iterable[int]) -> None:
        """Drops what is known of versions that are neither in the directory nor in memory."""
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
        if version not in self.routing.loaded and version not in self._loading:
            self.states[version] = VersionStatus(version, State.END)
            log.info("version %d: unloaded", version)
        ended = [v for v, status in self.states.items() if status.state is State.END]
        for old in ended[:-MAX_ENDED]:
            del self.states[old]


def _labelled(labels: Labels) -> list[tuple[int, str]]:
    """The labelled versions, each once, the most urgent first."""
    found = [] if labels.stable is None else [(labels.stable, STABLE)]
    if labels.canary is not None and labels.canary.version != labels.stable:
        found.append((labels.canary.version, CANARY))
    return found


def _look(base: Path) -> Fingerprint:
    """What tells one state of the directory from another, cheap enough to be asked all the time."""
    versions = list_versions(base)  # first: it says what is wrong with the directory itself
    return (_stat(base / LABELS_FILE), *(_stat(base / str(v)) for v in versions))


def _in_one_line(error: Exception) -> str:
    """An error for the status page and the log."""
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename or 'a file'} cannot be read: {error.strerror}"
    elif isinstance(error, OrdainError):
        text = f"{error.message} ({error.hint})" if error.hint else error.message
    else:
        text = str(error)
    return " ".join(text.split()) or type(error).__name__


def _identify_all(base: Path, versions: Iterable[int]) -> dict[int, Fingerprint]:
    return {version: _identify(base / str(version)) for version in versions}


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
