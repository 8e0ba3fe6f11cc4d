"""How a schedule stands: what was decided and why, what ran, when the next look is due.

Reads what others wrote and neither TensorFlow, TFX nor ML Metadata: runs are told from their
folders, whose `result.json` has the verdicts. Nothing is written and no lock is taken, so it
answers while a run goes on.
"""

from __future__ import annotations

import datetime
import json
import os
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ordain.common.atomic_files import write_file
from ordain.common.cron import Cron
from ordain.config.project import Project
from ordain.notifications.outbox import Outbox, describe_waiting
from ordain.retraining.decision_log import read_decisions
from ordain.scheduling.child_process import born, is_alive
from ordain.scheduling.state import Look, StateFile


@dataclass(frozen=True)
class Running:
    """A scheduler that runs, or ran: written when it starts.

    Attributes:
        host: Name of its machine.
        pid: Its process.
        born: When the system says that the process began.
        started: When it started, UTC, ISO 8601.
        cron: Its cron expression, or None.
        timezone: Its time zone.
        watch: Whether it watches the data folder.
    """

    host: str
    pid: int
    born: float
    started: str
    cron: str | None
    timezone: str
    watch: bool


def folder_of(project: Project) -> Path:
    """Where the scheduler's state and outbox are."""
    return project.home / "schedule"


def outbox_of(project: Project, say: Callable[[str], None]) -> Outbox:
    """The notices of a project that were not taken yet; `say` is told what becomes of them."""
    return Outbox(folder_of(project) / "outbox", project.notify, say)


def sign_in(project: Project, cron: str | None, timezone: str, watch: bool) -> Path:
    """Writes down that a scheduler runs in this process; returns the file, to be removed.

    Raises:
        InfrastructureError: The workspace cannot be written.
    """
    pid = os.getpid()
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    host = socket.gethostname()
    about = Running(host, pid, born(pid) or 0.0, now, cron, timezone, watch)
    path = folder_of(project) / "schedulers" / f"{host}-{pid}.json"
    for other in path.parent.glob(f"{host}-*.json"):
        found = _running(other)
        if found is None or not is_alive(found.pid, found.born):
            other.unlink(missing_ok=True)
    write_file(path, json.dumps(asdict(about)) + "\n")
    return path


def read_status(project: Project, limit: int, now: datetime.datetime) -> dict[str, Any]:
    """Everything that `ordain schedule status` shows, ready for JSON.

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
    waiting = outbox_of(project, lambda _: None).waiting()
    return {
        "project": project.name,
        "schedulers": [asdict(scheduler) for scheduler in schedulers],
        "cron": cron,
        "timezone": timezone,
        "watch": any(s.watch for s in schedulers) if schedulers else project.schedule.watch,
        "next_tick": None if next_tick is None else next_tick.isoformat(),
        "current": _look(state.current) if state.current and _goes_on(state.current) else None,
        "last": _look(state.last) if state.last else None,
        "decisions": read_decisions(project.home, limit),
        "runs": _runs(project.runs, limit),
        "outbox": [describe_waiting(entry) for entry in waiting],
    }


def _schedulers(folder: Path) -> list[Running]:
    """Those that run, as far as it can be told: of another machine nothing can."""
    found = (_running(path) for path in sorted((folder / "schedulers").glob("*.json")))
    here = socket.gethostname()
    return [s for s in found if s is not None and (s.host != here or is_alive(s.pid, s.born))]


def _running(path: Path) -> Running | None:
    try:
        return Running(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _cron(project: Project, schedulers: list[Running]) -> tuple[str | None, str]:
    """The expression of a scheduler that runs, else that of pipeline.yaml."""
    for scheduler in schedulers:
        if scheduler.cron is not None:
            return scheduler.cron, scheduler.timezone
    return project.schedule.cron, project.schedule.timezone


def _goes_on(look: Look) -> bool:
    return is_alive(look.pid, look.born)


def _look(look: Look) -> dict[str, Any]:
    return {
        "started": look.started.isoformat(timespec="seconds"),
        "ended": None if look.ended is None else look.ended.isoformat(timespec="seconds"),
        "why": look.why,
        "pid": look.pid,
        "exit_code": look.exit_code,
        "headline": look.headline,
    }


def _runs(folder: Path, limit: int) -> list[dict[str, Any]]:
    """The newest runs; their names sort by time."""
    try:
        names = sorted((p.name for p in folder.iterdir() if p.is_dir()), reverse=True)[:limit]
    except FileNotFoundError:
        return []
    return [{"run": name, **_result(folder / name / "result.json")} for name in names]


def _result(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        verdicts = {verdict["gate"]: verdict["outcome"] for verdict in raw["verdicts"]}
        keys = ("started", "headline", "exit_code", "version", "window")
        return {key: raw.get(key) for key in keys} | {"verdicts": verdicts}
    except (OSError, ValueError, KeyError, TypeError):
        return {"headline": "did not end (running, or killed)", "exit_code": None, "verdicts": {}}
