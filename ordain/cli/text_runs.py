"""Text output of `ordain runs compare`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ordain.history.diff import Change, RunComparison

#: Metrics on slices shown; --json has all.
MAX_METRICS = 40
_SECONDS, _COUNT = "{:.1f}", "{:,}"


def print_comparison(console: Console, compared: RunComparison) -> None:
    """Print the differences of two runs.

    Args:
        console: The output.
        compared: The comparison.
    """
    console.print(Text(f"{compared.before} -> {compared.after}"), soft_wrap=True)
    for change in compared.outcome:
        for line in _outcome_lines(change):
            console.print(Text(f"  {line}"), soft_wrap=True)
    for title, changes in (("settings", compared.settings), ("versions", compared.versions)):
        console.print()
        console.print(Text(title if changes else f"{title}: the same"), soft_wrap=True)
        for change in changes:
            line = f"  {change.name}: {_setting(change.before)} -> {_setting(change.after)}"
            console.print(Text(line), soft_wrap=True)
    console.print()
    console.print(_node_table(compared))
    if compared.verdicts:
        console.print()
    for change in compared.verdicts:
        line = f"{change.name} gate: {_both(change.before, change.after)}"
        console.print(Text(line), soft_wrap=True)
    if compared.metrics:
        console.print()
        if compared.not_comparable:
            line = f"metrics without a difference: {compared.not_comparable}"
            console.print(Text(line), soft_wrap=True)
        console.print(_metric_table(compared.metrics[:MAX_METRICS]))
    if len(compared.metrics) > MAX_METRICS:
        left = len(compared.metrics) - MAX_METRICS
        console.print(Text(f"{left} more metrics on slices: --json"), soft_wrap=True)


def _outcome_lines(change: Change) -> Iterator[str]:
    before, after = change.before, change.after
    if change.name == "headline":
        yield f"before   {before}"
        yield f"after    {after}"
    elif change.name == "window":
        yield f"spans    {_both(_spans(before), _spans(after))}"
    elif change.name == "seconds":
        yield f"seconds  {_both(before, after, _SECONDS)}{_ratio(change)}"
    elif change.name == "peak_rss_bytes":
        yield f"peak MB  {_both(_megabytes(before), _megabytes(after))}{_ratio(change)}"
    else:
        yield f"version  {_both(before, after)}"


def _node_table(compared: RunComparison) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("node", no_wrap=True)
    table.add_column("state")
    for title in ("seconds", "cpu s", "peak MB", "rows"):
        table.add_column(title, justify="right")
    for name, (state, seconds, cpu, peak, rows) in compared.nodes.items():
        cells = (
            _both(state.before, state.after),
            _both(seconds.before, seconds.after, _SECONDS),
            _both(cpu.before, cpu.after, _SECONDS),
            _both(_megabytes(peak.before), _megabytes(peak.after)),
            _both(rows.before, rows.after, _COUNT),
        )
        table.add_row(*map(Text, (name, *cells)))
    return table


def _metric_table(metrics: Sequence[Change]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("metric", no_wrap=True)
    for title in ("before", "after", "difference"):
        table.add_column(title, justify="right")
    for metric in metrics:
        name = f"{metric.name} on {metric.slice}" if metric.slice else metric.name
        moved = "" if metric.difference is None else f"{metric.difference:+.4g}"
        values = (Text(_number(value)) for value in (metric.before, metric.after))
        table.add_row(Text(name), *values, moved)
    return table


def _both(before: Any, after: Any, form: str = "{}") -> str:
    first, second = ("-" if value is None else form.format(value) for value in (before, after))
    return first if first == second else f"{first} -> {second}"


def _megabytes(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e6:.0f}"


def _ratio(change: Change) -> str:
    if not change.before or change.difference is None:
        return ""
    return f" (x {change.after / change.before:.2f})"


def _setting(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _number(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "-" if value is None else f"{value:.4g}"


def _spans(window: Any) -> str:
    if not window:
        return "-"
    return f"{window[0]} to {window[-1]}" if len(window) > 1 else str(window[0])
