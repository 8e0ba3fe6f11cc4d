"""Notifications of commands run by hand: sent after the run, through the scheduler's outbox."""

from __future__ import annotations

import datetime
from typing import Any

import click

from ordain.config.project import Project
from ordain.errors import OrdainError

no_notify_option = click.option("--no-notify", is_flag=True, help="Send no notifications.")


def notify(
    project: Project,
    started: datetime.datetime,
    runs: list[dict[str, Any]],
    error: OrdainError | None,
    decision: dict[str, Any] | None = None,
) -> None:
    """Sends the notifications of a command, each once.

    The caller has released its locks and printed its result, so that only its own exit waits for
    this. Notifications that are not accepted are sent with the next run or check.

    Args:
        project: The project.
        started: When the command started, UTC.
        runs: `result.json` of each run.
        error: Error that ended the command, other than a failure of a run.
        decision: The decision it was based on; None without one.
    """
    if not project.notify:
        return
    from ordain.notifications.events import notices_of  # noqa: PLC0415
    from ordain.retraining.report import Report  # noqa: PLC0415  only with targets to notify
    from ordain.scheduling.status import outbox_of  # noqa: PLC0415

    codes = [error.exit_code] if error else [run["exit_code"] for run in runs]
    code = next((int(code) for code in codes if code), 0)
    report = Report(code, decision or {}, tuple(runs), error.message if error else "")
    outbox = outbox_of(project, _log)
    try:
        outbox.add(notices_of(project.name, report, started))
        outbox.deliver()
    except OrdainError as problem:
        _log(f"notifications could not be sent: {problem.message}")


def _log(text: str) -> None:
    click.echo(text, err=True)
