"""Notifications of a run in pods: each one once, however often the run is concluded.

Sent notifications are recorded in the run's folder. A retried run with another outcome is
notified again under a new id, so that receivers do not treat it as a duplicate.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ordain.common.atomic_files import write_file
from ordain.config.project import Project
from ordain.errors import InfrastructureError
from ordain.kubeflow.pipeline_root import OUTBOX
from ordain.notifications.events import Notice, notices_of
from ordain.notifications.outbox import Outbox
from ordain.retraining.report import Report

FILE = "notifications.json"
#: Seconds of delivery attempts; undelivered notices wait for the next run's result.
_PATIENCE_S = 60.0
#: Events that happen once in a run and are not repeated with another headline.
_ONCE = ("blessed", "published")


def notify(
    project: Project,
    run_id: str,
    report: Report,
    started: datetime.datetime,
    say: Callable[[str], None],
) -> None:
    """Sends the notifications of a run; a failure is logged and does not change the run.

    Args:
        project: The project; `notify` lists the receivers.
        run_id: The run.
        report: The outcome.
        started: Start of the run or of the refused attempt, UTC.
        say: Receives log lines about what was sent and what was not.
    """
    if not project.notify:
        return
    path = project.runs / run_id / FILE
    outbox = Outbox(project.home / OUTBOX, project.notify, say)
    try:
        before = _read(path)
        found = notices_of(project.name, report, started)
        fresh = new_notices([_of_run(notice, run_id) for notice in found], before)
        outbox.add(fresh)
        if fresh:
            # After the outbox has them: if killed in between, they are sent twice under one id.
            sent = [*before, *((notice.event, str(notice.body["headline"])) for notice in fresh)]
            write_file(path, json.dumps(sent, indent=1) + "\n")
        outbox.deliver_within(_PATIENCE_S)
    except (InfrastructureError, OSError) as error:
        say(f"notifications failed: {error}")


def new_notices(notices: Sequence[Notice], before: Sequence[tuple[str, str]]) -> list[Notice]:
    """Selects the notices that are new for a run.

    Args:
        notices: All notices of the run.
        before: Event and headline of earlier notices, oldest first.

    Returns:
        The new notices; an event that was sent with another headline gets a new id.
    """
    fresh = []
    for notice in notices:
        same = [headline for event, headline in before if event == notice.event]
        if notice.body["headline"] in same or (same and notice.event in _ONCE):
            continue
        fresh.append(_named(notice, f"{notice.id}-{len(same) + 1}") if same else notice)
    return fresh


def _of_run(notice: Notice, run_id: str) -> Notice:
    """Names a refusal after the run instead of its time."""
    return notice if notice.body["run"] else _named(notice, f"{run_id}-{notice.event}")


def _named(notice: Notice, mark: str) -> Notice:
    return replace(notice, id=mark, body=notice.body | {"id": mark})


def _read(path: Path) -> list[tuple[str, str]]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return [(str(event), str(headline)) for event, headline in raw]
    except (OSError, ValueError, TypeError):
        return []
