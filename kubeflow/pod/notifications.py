"""Notices of a run in pods: each thing once, however often the run is concluded.

What was told stands in the run's folder. A run that is tried again and comes to something else is
told anew, under an id of its own, so that no receiver takes it for a repetition.
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

FILE = "told.json"
#: Seconds in which notices are tried again; what is left then waits for the next run's result.
_PATIENCE_S = 60.0
#: What a run does once: who heard of it has heard of it, whatever the run came to in the end.
_ONCE = ("blessed", "published")


def tell(
    project: Project,
    run_id: str,
    report: Report,
    started: datetime.datetime,
    say: Callable[[str], None],
) -> None:
    """Tells of a run; that nobody can be told changes nothing about it.

    Args:
        project: The project; its `notify` says whom.
        run_id: The run.
        report: What came of it.
        started: When it, or what ended without a run, began, UTC.
        say: Is told what was sent and what was not.
    """
    if not project.notify:
        return
    path = project.runs / run_id / FILE
    outbox = Outbox(project.home / OUTBOX, project.notify, say)
    try:
        before = _read(path)
        found = notices_of(project.name, report, started)
        fresh = untold([_of_run(notice, run_id) for notice in found], before)
        outbox.add(fresh)
        if fresh:
            # After the outbox has them: killed in between, they are told twice, under one id.
            told = [*before, *((notice.event, str(notice.body["headline"])) for notice in fresh)]
            write_file(path, json.dumps(told, indent=1) + "\n")
        outbox.deliver_within(_PATIENCE_S)
    except (InfrastructureError, OSError) as error:
        say(f"nobody could be told: {error}")


def untold(notices: Sequence[Notice], before: Sequence[tuple[str, str]]) -> list[Notice]:
    """The notices that say something new of a run.

    Args:
        notices: What there is to tell now.
        before: Event and headline of what was told, oldest first.

    Returns:
        Those that were not told; one whose event was told with another headline has a further id.
    """
    fresh = []
    for notice in notices:
        same = [headline for event, headline in before if event == notice.event]
        if notice.body["headline"] in same or (same and notice.event in _ONCE):
            continue
        fresh.append(_named(notice, f"{notice.id}-{len(same) + 1}") if same else notice)
    return fresh


def _of_run(notice: Notice, run_id: str) -> Notice:
    """A refusal is named after its time; here it belongs to a run."""
    return notice if notice.body["run"] else _named(notice, f"{run_id}-{notice.event}")


def _named(notice: Notice, mark: str) -> Notice:
    return replace(notice, id=mark, body=notice.body | {"id": mark})


def _read(path: Path) -> list[tuple[str, str]]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return [(str(event), str(headline)) for event, headline in raw]
    except (OSError, ValueError, TypeError):
        return []
