"""The runs of a project, each as one line.

The ML Metadata store has every run, also those whose folder was removed; a run that ended before
its first node has only a folder. The outcome of a run is in its `result.json` or, if that is gone,
in the verdicts in the store. Final results are read once.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from ordain.common.json_files import read_json
from ordain.config.project import Project
from ordain.dashboard.models import RunFilter, RunLine, State, Verdict
from ordain.dashboard.store import ReadOnlyHistory
from ordain.errors import InfrastructureError
from ordain.history.runs import state_of

_STAMP = re.compile(r"\d{8}-\d{6}")
_CODES = {3: Verdict.DATA_BLOCKED, 4: Verdict.NOT_BLESSED}
_GONE = "its folder was removed (ordain gc)"
_CUT_OFF = "did not end: it was killed, or runs on another machine"


class Runs:
    """Reads a project's runs. Not thread-safe."""

    def __init__(self, project: Project, history: ReadOnlyHistory) -> None:
        """Create it without reading."""
        self._project = project
        self._history = history
        self._known: dict[str, tuple[tuple[float, float], RunLine]] = {}

    def moments(self) -> tuple[list[tuple[datetime.datetime, str, int | None]], str]:
        """List all runs, newest first: start time, run id, and context id in the store.

        Returns:
            The runs, and the problem with the store, if any; then only run folders are listed.
        """
        problem = ""
        found: dict[str, tuple[datetime.datetime, int | None]] = {}
        try:
            for context in self._history.contexts():
                found[context.name] = (_at(context.create_time_since_epoch / 1000), context.id)
        except InfrastructureError as error:
            problem = error.message
        for name in _folders(self._project.runs):
            if name not in found:
                found[name] = (self._began(name), None)
        lines = [(began, name, context) for name, (began, context) in found.items()]
        return sorted(lines, key=lambda line: line[:2], reverse=True), problem

    def lines(self, choice: RunFilter, skip: int = 0) -> tuple[Iterator[RunLine], int | None, str]:
        """Read the runs of a filter lazily, newest first.

        Args:
            choice: The filter.
            skip: Number of runs in the filter's days to skip without reading.

        Returns:
            The runs; their number, None if that requires reading each; and the problem with the
            store, if any.
        """
        moments, problem = self.moments()
        wanted = [line for line in moments if choice.covers_day(line[0])]
        is_counted = not (choice.state or choice.verdict)
        running = self.running()
        read = (self.line(*moment, running) for moment in wanted[skip:])
        return filter(choice.covers, read), len(wanted) if is_counted else None, problem

    def line(
        self, began: datetime.datetime, run_id: str, context: int | None, running: str | None
    ) -> RunLine:
        """Read one run."""
        folder = self._project.runs / run_id
        changed = (_changed(folder / "result.json"), _changed(folder / "report.html"))
        known = self._known.get(run_id)
        if known is not None and known[0] == changed and run_id != running:
            return known[1]
        made = self._make(began, run_id, context, running, changed)
        if made.state not in (State.RUNNING, State.UNFINISHED):
            self._known[run_id] = (changed, made)
        return made

    def running(self) -> str | None:
        """Return the run that holds the workspace lock on this machine; None if there is none.

        It does not try the lock: that would hold it for a moment.
        """
        path = self._project.workspace / ".lock.json"
        about = read_json(path) or {}
        try:
            process = psutil.Process(int(about["pid"]))
            is_it = process.create_time() <= path.stat().st_mtime + 1 and process.is_running()
            run_id = str(about["run_id"])
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            return None
        # A scheduler's process outlives its runs; a run that ended has a result.
        has_ended = (self._project.runs / run_id / "result.json").exists()
        return run_id if is_it and not has_ended else None

    def _make(
        self,
        began: datetime.datetime,
        run_id: str,
        context: int | None,
        running: str | None,
        changed: tuple[float, float],
    ) -> RunLine:
        folder = self._project.runs / run_id
        has_folder = folder.is_dir()
        line: Callable[..., RunLine] = partial(
            RunLine,
            self._project.name,
            run_id,
            began,
            has_report=bool(changed[1]),
            has_folder=has_folder,
        )
        ended = _from_result(read_json(folder / "result.json"), line) if changed[0] else None
        if ended is not None:
            return ended
        if run_id == running:
            node = self._node(context)
            headline = f"running: {node}" if node else "running"
            return line(State.RUNNING, Verdict.NONE, headline, node=node)
        if has_folder:
            return line(State.UNFINISHED, Verdict.NONE, _CUT_OFF)
        verdict = Verdict.NONE if context is None else self._recalled(context, began)
        return line(State.REMOVED, verdict, _GONE)

    def _node(self, context: int | None) -> str:
        """Find the node that executes now, from the store."""
        if context is None:
            return ""
        try:
            executions = self._history.store.get_executions_by_context(context)
        except InfrastructureError:
            return ""
        active = [e.type.rpartition(".")[2] for e in executions if state_of(e) == "running"]
        return active[-1] if active else ""

    def _recalled(self, context: int, began: datetime.datetime) -> Verdict:
        """Read the outcome of a run without a folder from its verdicts in the store."""
        try:
            artifacts = self._history.store.get_artifacts_by_context(context)
        except InfrastructureError:
            return Verdict.NONE
        by_type: dict[str, list[Any]] = {}
        for artifact in artifacts:
            by_type.setdefault(artifact.type, []).append(artifact.custom_properties)
        pushed = [a.create_time_since_epoch for a in artifacts if a.type == "PushedModel"]
        if any(p["outcome"].string_value == "blocked" for p in by_type.get("GateVerdict", ())):
            return Verdict.DATA_BLOCKED
        if any(p["blessed"].int_value == 0 for p in by_type.get("ModelBlessing", ())):
            return Verdict.NOT_BLESSED
        if any(p["outcome"].string_value == "blocked" for p in by_type.get("InfraBlessing", ())):
            return Verdict.REFUSED
        if not pushed:
            return Verdict.NONE
        # A version pushed before the run started came from the cache.
        is_new = max(pushed) >= began.timestamp() * 1000
        return Verdict.PUSHED if is_new else Verdict.UNCHANGED

    def _began(self, run_id: str) -> datetime.datetime:
        """Return the start of a run that is not in the store, from its id or its folder."""
        if _STAMP.match(run_id):
            moment = datetime.datetime.strptime(run_id[:15], "%Y%m%d-%H%M%S")
            return moment.replace(tzinfo=datetime.UTC)
        try:
            return _at((self._project.runs / run_id).stat().st_mtime)
        except OSError:
            return _at(0)


def _from_result(raw: dict[str, Any] | None, line: Callable[..., RunLine]) -> RunLine | None:
    """Read a run from its `result.json`; None if that is not one."""
    if raw is None:
        return None
    try:
        version = raw.get("version")
        is_failed = raw.get("failure") is not None
        blocked = [v["gate"] for v in raw["verdicts"] if v["outcome"] == "blocked"]
        return line(
            State.FAILED if is_failed else State.ENDED,
            _verdict(raw, is_failed, blocked),
            str(raw["headline"]),
            seconds=float(raw["seconds"]),
            window=tuple(int(span) for span in raw["window"]),
            version=None if version is None else int(version),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _verdict(raw: dict[str, Any], is_failed: bool, blocked: list[str]) -> Verdict:
    if is_failed:
        return Verdict.NONE
    if blocked:
        return _CODES.get(int(raw["exit_code"]), Verdict.REFUSED)
    if raw.get("version") is None:
        return Verdict.NONE
    return Verdict.PUSHED if raw.get("is_new_version") else Verdict.UNCHANGED


def _folders(runs: Path) -> list[str]:
    try:
        with os.scandir(runs) as entries:
            return [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
    except FileNotFoundError:
        return []


def _changed(path: Path) -> float:
    """Return a file's modification time; 0 if it does not exist."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _at(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
