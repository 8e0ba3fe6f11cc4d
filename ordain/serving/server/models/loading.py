"""Loads a version under limits: first in a trial process, then in a thread of this one."""

from __future__ import annotations

import asyncio
import logging
import weakref
from functools import partial
from pathlib import Path

from ordain.errors import InfrastructureError
from ordain.serving.registry.trust import Trust
from ordain.serving.server.metrics import Metrics
from ordain.serving.server.models.checks import copy_checked
from ordain.serving.server.models.load_trial import Load, Trials
from ordain.serving.server.models.loaded_model import LoadedModel
from ordain.serving.server.models.signature_defs import LoadError
from ordain.serving.server.models.threads import Threads
from ordain.serving.server.models.warmup import warm_up
from ordain.serving.server.settings import Settings

#: Blocked loads in this process after which no further version is loaded.
MAX_LOST = 4
#: Concurrent loads: the stable version, the canary, another one.
AT_A_TIME = 3

log = logging.getLogger("ordain.serve")

Fingerprint = tuple[object, ...]


class Loader:
    """Loads versions; every failure is a `LoadError`, after the time limit at the latest."""

    def __init__(
        self, load: Load, trials: Trials | None, settings: Settings, metrics: Metrics
    ) -> None:
        """Creates no thread yet.

        Args:
            load: Checks, loads and warms a version.
            trials: Loads a version in a trial process first; None in the trial server itself.
            settings: The limits.
            metrics: Counts lost threads.
        """
        self._load = load
        self._trials = trials
        self._settings = settings
        self._threads = Threads("load", MAX_LOST + AT_A_TIME, metrics.threads_lost.labels("load"))
        self._passed: dict[int, Fingerprint] = {}
        self._here: set[asyncio.Task[LoadedModel]] = set()

    @property
    def problems(self) -> list[str]:
        """Reasons why versions cannot be loaded, or soon cannot."""
        found = []
        if lost := self._threads.lost:
            found.append(f"{lost} of at most {MAX_LOST} loads are blocked in this process")
        if self._trials is not None and not self._trials.is_alive:
            found.append("the trial process has died: restart the server to load another version")
        return found

    async def load(self, folder: Path, version: int, content: Fingerprint) -> LoadedModel:
        """Checks, loads and warms a version.

        Cancellation ends the trial; a load that has started in this process runs to its end.

        Args:
            folder: The version's folder.
            version: Its number.
            content: Fingerprint of its content; a content that passed its trial skips the next one.

        Raises:
            LoadError: It fails the checks, cannot be loaded, or exceeds a limit.
        """
        has_passed = bool(content) and self._passed.get(version) == content
        if self._trials is not None and not has_passed:
            fault = await self._trials.find_fault(folder, version, self._settings)
            if fault:
                raise LoadError(fault)
            self._passed[version] = content
        if (lost := self._threads.lost) >= MAX_LOST:
            raise LoadError(
                f"not loaded: {lost} loads are blocked in this process; restart the server"
            )
        task = asyncio.create_task(self._load_here(folder, version))
        self._here.add(task)
        task.add_done_callback(self._here.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    async def _load_here(self, folder: Path, version: int) -> LoadedModel:
        call = self._threads.start(partial(self._load, folder, version))
        limit_s = self._settings.load_timeout_s
        if not await call.wait(limit_s):
            if not await call.cancel():
                self._threads.lose(call)
                log.error("version %d: its load does not end; a thread is blocked", version)
            raise LoadError(f"loading timed out after {limit_s:g} s")
        try:
            return call.result.result()
        except LoadError:
            raise
        except Exception as error:
            raise LoadError(f"{type(error).__name__}: {error}") from error


def load_version(folder: Path, version: int, trust: Trust | None) -> LoadedModel:
    """Copies, checks, loads and warms a version; the copy is removed with the model.

    Raises:
        LoadError: It fails the checks, or cannot be loaded.
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
