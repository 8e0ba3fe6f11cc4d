"""When each node ran, and what it took."""

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
    """What a node took over all its spans.

    Attributes:
        node: The node.
        state: What became of it.
        seconds: Wall time.
        cpu_s: Processor time; None where it was not measured.
        peak_bytes: Most resident memory of the run's process and its children meanwhile; None where
            it was not measured.
        rows: Rows it handled, or None.
        reason: Why it was cached, skipped or failed.
    """

    node: str
    state: str
    seconds: float
    cpu_s: float | None
    peak_bytes: float | None
    rows: int | None
    reason: str


def bars(record: Record) -> list[Bar]:
    """Executions in the order they started."""
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
    """What each node took, in the order of the chain."""
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
