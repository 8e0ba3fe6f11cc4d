"""What is worth telling of a look: blocked, failed, blessed, published.

| Event | When |
|---|---|
| `blocked` | a gate blocked a run: data, evaluation or server |
| `failed` | a run failed, or something else ended the command, before its first run or after |
| `blessed` | the evaluation was executed, not taken from the cache, and passed |
| `published` | a run published a version that was not there before |

One run can be both blessed and published, and then there are two.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from ordain.common.node_id import NodeId
from ordain.config.schedule import Notify, NotifyEvent
from ordain.errors import ExitCode
from ordain.retraining.report import Report

EVENTS: tuple[NotifyEvent, ...] = get_args(NotifyEvent)


@dataclass(frozen=True)
class Notice:
    """One thing to tell.

    Attributes:
        id: The same if the same thing is told again, so that a receiver can tell.
        event: One of `EVENTS`.
        body: The JSON document that is sent.
    """

    id: str
    event: str
    body: dict[str, Any]


def notices_of(project: str, report: Report, started: datetime.datetime) -> list[Notice]:
    """Everything worth telling of one look, in the order it happened.

    Args:
        project: The project's name.
        report: What the command said.
        started: When it was started, UTC.
    """
    at = started.isoformat(timespec="seconds")
    common = {
        "project": project,
        "at": at,
        "exit_code": report.exit_code,
        "decision": report.decision,
    }
    notices = []
    for run in report.runs:
        mark = str(run.get("run_id") or at)
        for event in _events_of_run(run):
            told = {
                "id": f"{mark}-{event}",
                "event": event,
                "headline": run.get("headline", ""),
                "run": {key: below for key, below in run.items() if key != "nodes"},
            }
            notices.append(Notice(told["id"], event, told | common))
    was_refused = report.exit_code != ExitCode.DONE and not report.runs
    if was_refused or report.error:
        told = {
            "id": f"{at}-failed",
            "event": "failed",
            "headline": report.headline,
            "run": None,
        }
        notices.append(Notice(told["id"], "failed", told | common))
    return notices


def wanted(notices: Sequence[Notice], notify: Notify) -> list[Notice]:
    """Those of the notices that an entry of `notify` asks for."""
    return [notice for notice in notices if notice.event in notify.on]


def _events_of_run(run: dict[str, Any]) -> list[NotifyEvent]:
    verdicts = run.get("verdicts") or []
    blocked = {v.get("gate") for v in verdicts if v.get("outcome") == "blocked"}
    gates = {v.get("gate") for v in verdicts}
    executed = {n.get("node") for n in run.get("nodes") or [] if n.get("state") == "complete"}
    events: list[NotifyEvent] = []
    if "evaluation" in gates - blocked and NodeId.EVALUATOR in executed:
        events.append("blessed")
    if run.get("is_new_version"):
        events.append("published")
    is_refused = run.get("exit_code") not in (int(ExitCode.DONE), None)
    if blocked and not run.get("failure"):
        events.append("blocked")
    elif run.get("failure") or is_refused:
        events.append("failed")
    return events


def without_repeats(
    notices: Sequence[Notice], report: Report, before: tuple[int | None, str] | None
) -> list[Notice]:
    """Leaves out a refusal that was told after the look before, word for word the same.

    A configuration that is wrong is wrong at every tick; a run that fails is told each time.

    Args:
        notices: What `notices_of` found.
        report: The look's report.
        before: Exit code and headline of the look before; None if there was none.
    """
    if not report.runs and before == (report.exit_code, report.headline):
        return []
    return list(notices)
