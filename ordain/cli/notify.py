"""Notifications of what was started by hand: after the run, through the scheduler's outbox."""

from __future__ import annotations

import datetime
from typing import Any

import click

from ordain.config.project import Project
from ordain.errors import OrdainError

no_notify_option = click.option(
    "--no-notify",
    is_flag=True,
    help="Send no notifications: whoever started it does.",
)


def tell(
    project: Project,
    started: datetime.datetime,
    runs: list[dict[str, Any]],
    error: OrdainError | None,
    decision: dict[str, Any] | None = None,
) -> None:
    """Tells everyone in `notify` what came of a command, once; what is not taken is kept.

    The caller holds no lock any more and has said its result: nobody waits for this but its own
    exit. What was not taken goes out with the next run or look.

    Args:
        project: The project.
        started: When the command began, UTC.
        runs: `result.json` of each run.
        error: What ended it beside a run's own failure.
        decision: What was decided before; None where nothing was.
    """
    if not project.notify:
        return
    from ordain.notifications.events import notices_of  # noqa: PLC0415
    from ordain.retraining.report import Report  # noqa: PLC0415  only where somebody is told
    from ordain.scheduling.status import outbox_of  # noqa: PLC0415

    codes = [error.exit_code] if error else [run["exit_code"] for run in runs]
    code = next((int(code) for code in codes if code), 0)
    report = Report(code, decision or {}, tuple(runs), error.message if error else "")
    outbox = outbox_of(project, _say)
    try:
        outbox.add(notices_of(project.name, report, started))
        outbox.deliver()
    except OrdainError as problem:
        _say(f"nobody was told: {problem.message}")


def _say(text: str) -> None:
    click.echo(text, err=True)
