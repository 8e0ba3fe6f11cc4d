"""Status of a schedule: decisions and their reasons, runs, the next tick, unsent notifications.

Reads files only, and imports neither TensorFlow, TFX nor ML Metadata: runs are read from their
folders, whose `result.json` has the verdicts. It takes no lock, so it answers while a run goes on.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ordain.common.atomic_files import write_file
from ordain.common.cron import Cron
from ordain.common.json_files import read_json
from ordain.config.project import Project
from ordain.notifications.outbox import Outbox, describe_waiting
from ordain.retraining.decision_log import read_decisions
from ordain.scheduling.child_process import is_alive, process_created
from ordain.scheduling.state import Check, StateFile


@dataclass(frozen=True)
class Registration:
    """A scheduler that runs, or was killed: written when it starts, removed when it ends.

    Attributes:
        host: Name of its machine.
        pid: Its process.
        created: Creation time of that process, in seconds since 1970.
        started: When the scheduler started, UTC, ISO 8601.
        cron: Its cron expression, or None.
        timezone: Its time zone.
        watch: Whether it watches the data folder.
    """

    host: str
    pid: int
    created: float
    started: str
    cron: str | None
    timezone: str
    watch: bool


def folder_of(project: Project) -> Path:
    """Folder of the scheduler's state and outbox."""
    return project.home / "schedule"


def outbox_of(project: Project, log: Callable[[str], None]) -> Outbox:
    """Outbox of a project's unsent notifications; `log` receives a line for each attempt."""
    return Outbox(folder_of(project) / "outbox", project.notify, log)


@contextlib.contextmanager
def registered(project: Project, cron: str | None, timezone: str, watch: bool) -> Iterator[Path]:
    """Registers this process as a scheduler for `status`; yields the file.

    Raises:
        InfrastructureError: The workspace cannot be written.
    """
    pid, host = os.getpid(), socket.gethostname()
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    own = Registration(host, pid, process_created(pid) or 0.0, now, cron, timezone, watch)
    path = folder_of(project) / "schedulers" / f"{host}-{pid}.json"
    for other in path.parent.glob(f"{host}-*.json"):
        found = _read_registration(other)
        if found is None or not is_alive(found.pid, found.created):
            other.unlink(missing_ok=True)
    write_file(path, json.dumps(asdict(own)) + "\n")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def read_status(project: Project, limit: int, now: datetime.datetime) -> dict[str, Any]:
    """Collects everything that `ordain schedule status` shows, ready for JSON.

    Args:
        project: The project.
        limit: How many decisions and runs.
        now: The time, for the next tick.

    Raises:
        InfrastructureError: The scheduler's state is damaged.
    """
    folder = folder_of(project)
    state = StateFile(folder).read()
    schedulers = _schedulers(folder)
    cron, timezone = _cron(project, schedulers)
    next_tick = None if cron is None else Cron(cron, timezone).next_after(now)
    current = state.current
    is_current = current is not None and is_alive(current.pid, current.created)
    waiting = outbox_of(project, lambda _: None).waiting()
    return {
        "project": project.name,
        "schedulers": [asdict(scheduler) for scheduler in schedulers],
        "cron": cron,
        "timezone": timezone,
        "watch": any(s.watch for s in schedulers) if schedulers else project.schedule.watch,
        "next_tick": None if next_tick is None else next_tick.isoformat(),
        "current": _check(current) if current is not None and is_current else None,
        "last": _check(state.last) if state.last else None,
        "decisions": read_decisions(project.home, limit),
        "runs": _runs(project.runs, limit),
        "outbox": [describe_waiting(entry) for entry in waiting],
    }


def _schedulers(folder: Path) -> list[Registration]:
    """Schedulers that run; those of another machine are assumed to."""
    found = (_read_registration(path) for path in sorted((folder / "schedulers").glob("*.json")))
    here = socket.gethostname()
    return [s for s in found if s is not None and (s.host != here or is_alive(s.pid, s.created))]


def _read_registration(path: Path) -> Registration | None:
    try:
        return Registration(**(read_json(path) or {}))
    except TypeError:
        return None


def _cron(project: Project, schedulers: list[Registration]) -> tuple[str | None, str]:
    """Cron expression and time zone of a running scheduler, else of pipeline.yaml."""
    for scheduler in schedulers:
        if scheduler.cron is not None:
            return scheduler.cron, scheduler.timezone
    return project.schedule.cron, project.schedule.timezone


def _check(check: Check) -> dict[str, Any]:
    return {
        "started": check.started.isoformat(timespec="seconds"),
        "ended": None if check.ended is None else check.ended.isoformat(timespec="seconds"),
        "why": check.why,
        "pid": check.pid,
        "exit_code": check.exit_code,
        "headline": check.headline,
    }


def _runs(folder: Path, limit: int) -> list[dict[str, Any]]:
    """The newest runs; their names sort by time."""
    try:
        names = sorted((p.name for p in folder.iterdir() if p.is_dir()), reverse=True)[:limit]
    except FileNotFoundError:
        return []
    return [{"run": name, **_result(folder / name / "result.json")} for name in names]


def _result(path: Path) -> dict[str, Any]:
    raw = read_json(path) or {}
    try:
        verdicts = {verdict["gate"]: verdict["outcome"] for verdict in raw["verdicts"]}
        keys = ("started", "headline", "exit_code", "version", "window")
        return {key: raw.get(key) for key in keys} | {"verdicts": verdicts}
    except (KeyError, TypeError):
        return {"headline": "did not end (running, or killed)", "exit_code": None, "verdicts": {}}
