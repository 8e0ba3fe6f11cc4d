"""Text output of `ordain schedule status`."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from ordain.common.cron import show_time
from ordain.retraining.report import describe_reason


def status_lines(found: dict[str, Any]) -> Iterator[str]:
    """Formats the document of `read_status` as lines."""
    zone = found["timezone"]
    yield from _now(found, zone)
    yield ""
    yield "decisions, newest first:" if found["decisions"] else "no decision yet"
    for decision in found["decisions"]:
        yield from _decision(decision, zone)
    yield ""
    yield "runs, newest first:" if found["runs"] else "no run yet"
    for run in found["runs"]:
        gates = ", ".join(f"{gate} gate {outcome}" for gate, outcome in run["verdicts"].items())
        yield f"  {run['run']}  {run['headline']}" + (f" ({gates})" if gates else "")
    if found["outbox"]:
        yield ""
        yield "not sent yet:"
    for entry in found["outbox"]:
        problem = f": {entry['problem']}" if entry["problem"] else ""
        yield f"  {entry['event']}  {entry['id']}, {entry['tries']} attempts{problem}"


def _now(found: dict[str, Any], zone: str) -> Iterator[str]:
    for scheduler in found["schedulers"]:
        since = _time(scheduler["started"], zone)
        yield f"scheduler  process {scheduler['pid']} on {scheduler['host']} since {since}"
    if not found["schedulers"]:
        yield "scheduler  none is running"
    if found["cron"] is not None:
        late = "" if found["schedulers"] else ", if a scheduler is running by then"
        yield f"next tick  {_time(found['next_tick'], zone)} ({found['cron']}, {zone}){late}"
    elif not found["watch"]:
        yield "next tick  none: no cron expression in schedule.cron, and no scheduler with one"
    if found["watch"]:
        yield "watch      on"
    if found["current"] is not None:
        check = found["current"]
        yield f"checking   since {_time(check['started'], zone)}: {check['why']}"
    if found["last"] is not None:
        check = found["last"]
        yield (
            f"last check {_time(check['started'], zone)}, {check['why']}: "
            f"{check['headline']} (exit code {check['exit_code']})"
        )


def _decision(decision: dict[str, Any], zone: str) -> Iterator[str]:
    spans = "".join(
        f", spans {window[0]} to {window[-1]}" if len(window) > 1 else f", span {window[0]}"
        for window in decision["windows"]
    )
    line = f"{decision['action']}{spans}"
    if decision["times"] > 1:
        line += f" ({decision['times']} times until {_time(decision['until'], zone)})"
    if decision["exit_code"] is None:
        line += ": did not end (running, or killed)"
    yield f"  {_time(decision['at'], zone)}  {line}"
    for reason in decision["reasons"]:
        yield f"      {describe_reason(reason)}"


def _time(moment: str, zone: str) -> str:
    """Formats an ISO 8601 time in a time zone."""
    return show_time(datetime.datetime.fromisoformat(moment), zone)
