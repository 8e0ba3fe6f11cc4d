"""The slices of an evaluation as a table: worst first, with thresholds and sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ordain.reports.facts.model import Evaluation, Measured, is_less_better
from ordain.verdict import Reason, Verdict

#: Slices below this share of the window are marked as small.
SMALL_SHARE = 0.01


@dataclass(frozen=True)
class Slice:
    """One row of the table.

    Attributes:
        where: The slice; empty for the whole window.
        count: Its examples.
        is_small: True if it has too few examples for reliable values.
        cells: Value and thresholds of each metric.
    """

    where: str
    count: float
    is_small: bool
    cells: tuple[tuple[str, Measured | None, tuple[Reason, ...]], ...]


def primary_metric(evaluation: Evaluation, verdicts: Iterable[Verdict]) -> str | None:
    """Choose the metric that ranks slices: the first with a threshold, else the first."""
    limited = {r.kind.partition(".")[0] for v in verdicts for r in v.reasons}
    named = [name for name in evaluation.names if name in limited]
    return next(iter([*named, *evaluation.names]), None)


def ranked(evaluation: Evaluation, metric: str) -> list[str]:
    """Sort slices by a metric, worst first; smaller ones first if equal.

    Slices where it is undefined come last.
    """
    sign = -1 if is_less_better(evaluation.kinds.get(metric, metric)) else 1

    def rank(where: str) -> tuple[float, float, str]:
        value = evaluation.slices[where][metric].value
        bad = math.inf if value is None else sign * value
        return bad, evaluation.counts.get(where, 0.0), where

    return sorted((w for w, found in evaluation.slices.items() if metric in found), key=rank)


def rows(evaluation: Evaluation, metric: str, verdict: Verdict | None) -> list[Slice]:
    """Build the table's rows, worst first.

    Args:
        evaluation: The evaluation.
        metric: The metric to rank by.
        verdict: The evaluation gate's, for the thresholds.
    """
    total = evaluation.counts.get("", 0.0)
    found = []
    for where in ranked(evaluation, metric):
        count = evaluation.counts.get(where, 0.0)
        cells = []
        for name in evaluation.names:
            reasons = _reasons(verdict, where, name)
            cells.append((name, evaluation.slices[where].get(name), reasons))
        is_small = bool(total) and count < SMALL_SHARE * total
        found.append(Slice(where, count, is_small, tuple(cells)))
    return found


def limits(verdict: Verdict | None, metric: str) -> dict[str, float]:
    """Collect limits on a metric, by slice."""
    return {
        reason.where: reason.limit
        for reason in (verdict.reasons if verdict else ())
        if reason.kind in (f"{metric}.min", f"{metric}.max") and reason.limit is not None
    }


def _reasons(verdict: Verdict | None, where: str, name: str) -> tuple[Reason, ...]:
    if verdict is None:
        return ()
    return tuple(
        r for r in verdict.reasons if r.where == where and r.kind.rpartition(".")[0] == name
    )
