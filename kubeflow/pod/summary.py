"""HTML summaries and metrics of tasks for Kubeflow's pages.

A summary is one document without scripts and external resources. Names and values come from data
and are escaped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ordain.history.results import Failure, NodeResult, RunResult
from ordain.history.runs import Output
from ordain.kubeflow.pod.run_plan import PreparedRun
from ordain.verdict import Verdict

#: Longer values are shortened; ML Metadata has the whole.
_LONGEST = 300
_MOST_ROWS = 200
#: Kubeflow's pages load the whole artifact before showing it; the page of a year of flights has
#: under 1 MB, and 20 MB have crashed browsers (kubeflow/pipelines#5513).
MAX_REPORT_BYTES = 4_000_000
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:1.5rem;color:#1b1b1b;background:#fff}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}caption{text-align:left;font-weight:600}"
    "td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;"
    "border-bottom:1px solid #ccc}td.n{text-align:right;font-variant-numeric:tabular-nums}"
    ".blocked,.failed{color:#a40000;font-weight:600}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#1b1b1b}"
    "td,th{border-color:#555}.blocked,.failed{color:#ff9b9b}}"
)


def node_page(
    result: NodeResult, outputs: Sequence[Output], verdict: Verdict | None, failure: Failure | None
) -> str:
    """Builds the page of a node's task.

    Args:
        result: The node's result.
        outputs: Its output artifacts.
        verdict: Its verdict, if it is a gate.
        failure: The error, if it failed.
    """
    facts: list[tuple[str, object]] = [("state", result.state)]
    facts += [("reason", result.reason)] if result.reason else []
    facts += [("rows", result.rows)] if result.rows is not None else []
    facts += [("launches by state", _by_state(result.spans))] if result.spans else []
    facts += [("wall time, s", result.seconds)]
    facts += [("executions in ML Metadata", ", ".join(map(str, result.execution_ids)))]
    facts += [("next", failure.hint)] if failure is not None and failure.hint else []
    parts = [_table("", ("", ""), facts)]
    parts += [_verdict(verdict)] if verdict is not None else []
    left = [(o.key, o.type, o.id, o.uri) for o in outputs]
    parts += [_table("Outputs", ("output", "type", "id", "where"), left)] if left else []
    return _page(f"{result.node}: {result.state}", parts)


def run_html(result: RunResult, report: Path | None) -> str:
    """The page of the last tasks: the run's report, or a summary if it is missing or too large.

    Args:
        result: The run's result.
        report: The report's path; None if this task wrote none.
    """
    if report is not None:
        with contextlib.suppress(OSError):
            if report.stat().st_size <= MAX_REPORT_BYTES:
                return report.read_text(encoding="utf-8")
    return run_page(result)


def run_page(result: RunResult) -> str:
    """Builds the page of a run."""
    facts: list[tuple[str, object]] = [
        ("run", result.run_id),
        ("spans", ", ".join(map(str, result.window))),
        ("exit code", int(result.exit_code)),
        ("wall time, s", result.seconds),
    ]
    facts += [("version", result.version)] if result.version is not None else []
    facts += [("baseline", result.baseline)] if result.baseline else []
    nodes = [(n.node, n.state, n.rows, n.seconds, n.reason) for n in result.nodes]
    parts = [_table("", ("", ""), facts)]
    parts += [_verdict(verdict) for verdict in result.verdicts]
    parts += [_table("Nodes", ("node", "state", "rows", "s", "reason"), nodes)]
    return _page(result.headline, parts)


def plan_page(prepared: PreparedRun) -> str:
    """Builds the page of `prepare`: what the run will do."""
    facts: list[tuple[str, object]] = [
        ("run", prepared.run_id),
        ("spans", ", ".join(map(str, prepared.spans))),
        ("nodes", ", ".join(n["pipeline_node"]["node_info"]["id"] for n in prepared.ir["nodes"])),
    ]
    facts += [("note", note) for note in prepared.notes]
    facts += [("closed", closed.run_id) for closed in prepared.recovered]
    return _page(
        f"{len(prepared.spans)} spans, newest {prepared.spans[-1]}", [_table("", ("", ""), facts)]
    )


def node_numbers(result: NodeResult, verdict: Verdict | None) -> dict[str, float]:
    """Metrics of a node's task."""
    numbers: dict[str, float] = {"seconds": result.seconds}
    if result.rows is not None:
        numbers["rows"] = result.rows
    for state, count in (result.spans or {}).items():
        numbers[f"launches {state}"] = count
    if verdict is not None:
        for reason in verdict.reasons:
            if reason.measured is not None:
                numbers.setdefault(
                    " ".join(filter(None, (reason.kind, reason.where))), reason.measured
                )
    return numbers


def run_numbers(result: RunResult) -> dict[str, float]:
    """Metrics of a run."""
    numbers: dict[str, float] = {
        "exit code": int(result.exit_code),
        "seconds": result.seconds,
        "cached nodes": sum(node.state == "cached" for node in result.nodes),
    }
    return numbers | ({"version": result.version} if result.version is not None else {})


def _verdict(verdict: Verdict) -> str:
    rows = [
        (r.outcome, r.text, r.where, r.span, r.measured, r.limit, r.advice)
        for r in verdict.reasons[:_MOST_ROWS]
    ]
    head = ("outcome", "reason", "where", "span", "measured", "limit", "what to do")
    more = len(verdict.reasons) - len(rows)
    title = f"The {verdict.gate} gate: {verdict.outcome}" + (f" ({more} more)" if more else "")
    title += f"; compared with {verdict.compared_with}" if verdict.compared_with else ""
    return _table(title, head, rows)


def _by_state(spans: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in spans.items())


def _table(title: str, head: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    names = list(head)
    top = "".join(f"<th scope=col>{escape(name)}</th>" for name in names) if any(names) else ""
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    return f"<table>{caption}{f'<tr>{top}</tr>' if top else ''}{body}</table>"


def _cell(value: object) -> str:
    if value is None:
        return "<td></td>"
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    text = f"{value:g}" if isinstance(value, float) else str(value)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    kind = " class=n" if is_number else f" class={text}" if text in ("blocked", "failed") else ""
    return f"<td{kind}>{escape(text)}</td>"


def _page(title: str, parts: Iterable[str]) -> str:
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>{''.join(parts)}</html>\n"
    )


def executor_output(numbers: dict[str, float]) -> dict[str, Any]:
    """The numbers as an `ExecutorOutput` with the artifact `metrics`."""
    return {"artifacts": {"metrics": {"artifacts": [{"name": "metrics", "metadata": numbers}]}}}
