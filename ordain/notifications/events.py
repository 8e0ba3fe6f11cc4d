"""Notices of the events of a check or a run: blocked, failed, blessed, published.

| Event | When |
|---|---|
| `blocked` | a gate blocked a run: data, evaluation or server |
| `failed` | a run failed, or the command ended with another error before or after its runs |
| `blessed` | the evaluation was executed, not taken from the cache, and passed |
| `published` | a run published a new version |

A run that is blessed and published makes two notices.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from ordain.common.node_id import NodeId
from ordain.config.schedule import NotifyEvent
from ordain.errors import ExitCode
from ordain.retraining.report import Report


@dataclass(frozen=True)
class Notice:
    """One notification, for any target.

    Attributes:
        id: The same if the same event is sent again, so that a receiver can drop the repetition.
        event: `blocked`, `failed`, `blessed` or `published`.
        body: The JSON document that is sent.
    """

    id: str
    event: str
    body: dict[str, Any]


def notices_of(project: str, report: Report, started: datetime.datetime) -> list[Notice]:
    """Lists the notices of one check, in the order of its runs.

    Args:
        project: The project's name.
        report: The report of `ordain retrain`.
        started: When the check started, UTC.
    """
    at = started.isoformat(timespec="seconds")
    common = {
        "project": project,
        "at": at,
        "exit_code": report.exit_code,
        "decision": report.decision,
    }

    def notice(mark: str, event: str, headline: str, run: dict[str, Any] | None) -> Notice:
        body = {"id": f"{mark}-{event}", "event": event, "headline": headline, "run": run}
        return Notice(f"{mark}-{event}", event, body | common)

    notices = []
    for run in report.runs:
        about = {key: value for key, value in run.items() if key != "nodes"}
        mark, headline = str(run.get("run_id") or at), str(run.get("headline", ""))
        notices += [notice(mark, event, headline, about) for event in _events_of(run)]
    has_failed_without_run = report.exit_code != ExitCode.DONE and not report.runs
    if has_failed_without_run or report.error:
        notices.append(notice(at, "failed", report.headline, None))
    return notices


def is_repeated(report: Report, exit_code: int | None, headline: str) -> bool:
    """Tests whether a check without a run ended exactly like the one before.

    A wrong configuration is the same error at every tick; each run that fails is an event.

    Args:
        report: The report of the check.
        exit_code: Exit code of the check before.
        headline: Headline of the check before.
    """
    return not report.runs and (exit_code, headline) == (report.exit_code, report.headline)


def _events_of(run: dict[str, Any]) -> list[NotifyEvent]:
    verdicts = run.get("verdicts") or []
    blocked = {v.get("gate") for v in verdicts if v.get("outcome") == "blocked"}
    gates = {v.get("gate") for v in verdicts}
    executed = {n.get("node") for n in run.get("nodes") or [] if n.get("state") == "complete"}
    events: list[NotifyEvent] = []
    if "evaluation" in gates - blocked and NodeId.EVALUATOR in executed:
        events.append("blessed")
    if run.get("is_new_version"):
        events.append("published")
    if blocked and not run.get("failure"):
        events.append("blocked")
    elif run.get("failure") or run.get("exit_code") not in (int(ExitCode.DONE), None):
        events.append("failed")
    return events
