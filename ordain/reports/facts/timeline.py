"""Timeline and cost of nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ordain.reports.facts.run_record import Record


@dataclass(frozen=True)
class Bar:
    """One execution in time, in seconds since the first began."""

    node: str
    span: int | None
    state: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class NodeCost:
    """Cost of a node over all its spans.

    Attributes:
        node: The node.
        state: Its state.
        seconds: Wall time.
        cpu_s: CPU time in seconds; None if not measured.
        peak_bytes: Peak resident memory of the run's process and its children meanwhile; None where
            it was not measured.
        rows: Rows it handled, or None.
        reason: Reason for being cached, skipped or failed.
    """

    node: str
    state: str
    seconds: float
    cpu_s: float | None
    peak_bytes: float | None
    rows: int | None
    reason: str


def bars(record: Record) -> list[Bar]:
    """List executions in order of their start."""
    runs = record.run.nodes
    if not runs:
        return []
    zero = min(run.started_ms for run in runs)
    return [
        Bar(
            run.node,
            run.span,
            run.state,
            (run.started_ms - zero) / 1000,
            (max(run.finished_ms, run.started_ms) - zero) / 1000,
        )
        for run in runs
    ]


def costs(record: Record) -> list[NodeCost]:
    """Compute the cost of each node, in pipeline order."""
    if record.result is None:
        return [
            NodeCost(run.node, run.state, run.seconds, None, None, None, "")
            for run in record.run.nodes
        ]
    return [_cost(entry) for entry in record.result["nodes"]]


def _cost(entry: dict[str, Any]) -> NodeCost:
    return NodeCost(
        node=entry["node"],
        state=entry["state"],
        seconds=entry["seconds"],
        cpu_s=entry.get("cpu_s"),
        peak_bytes=entry.get("peak_rss_bytes"),
        rows=entry["rows"],
        reason=entry["reason"],
    )
