"""Measurements of the gates over runs: metrics of blessed models, and drift of each feature.

Both come from the verdicts in the ML Metadata store, which `ordain gc` keeps. A verdict is read
once; a cached run has none of its own.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordain.common.json_files import read_json
from ordain.common.node_id import NodeId
from ordain.dashboard.store import ReadOnlyHistory
from ordain.history.runs import Output, verdict_of
from ordain.verdict import Outcome, Reason, Verdict

#: Artifacts of a node, of any type, that are searched for verdicts.
MAX_ARTIFACTS = 3000
#: Verdicts in a trend.
MAX_VERDICTS = 300


@dataclass(frozen=True)
class Judged:
    """A verdict with its time, its run, and the newest span of that run."""

    at: datetime.datetime
    run: str
    newest: int | None
    verdict: Verdict


@dataclass(frozen=True)
class Point:
    """One measured value.

    Attributes:
        at: Time of the measurement.
        run: The run that measured it.
        span: The newest span; for drift the span compared with the one before it.
        value: The value.
        limit: The limit it was compared with, or None.
        baseline: The baseline's value, or None.
        outcome: The gate's outcome.
    """

    at: datetime.datetime
    run: str
    span: int | None
    value: float
    limit: float | None
    baseline: float | None
    outcome: Outcome


@dataclass(frozen=True)
class Series:
    """A measure over time, oldest first.

    Attributes:
        name: The metric, or the feature.
        what: `whole window` or `newest span`; for drift the distance's name.
        bound: Side of the limit: `min`, `max` or empty.
        points: The values.
    """

    name: str
    what: str
    bound: str
    points: tuple[Point, ...]

    @property
    def nearness(self) -> float:
        """Ratio of the newest value to its limit; 0 without a limit."""
        last = self.points[-1]
        return last.value / last.limit if last.limit else 0.0


class Trends:
    """Reads a project's verdicts. Not thread-safe."""

    def __init__(self, history: ReadOnlyHistory, runs: Path) -> None:
        """Create it from the store and the folder of runs, whose results have the spans."""
        self._history = history
        self._runs = runs
        self._known: dict[int, Judged | None] = {}

    def metrics(self) -> list[Series]:
        """Read the metrics with a threshold of all blessed models.

        Raises:
            InfrastructureError: ML Metadata does not answer.
        """
        blessed = [j for j in self._judged(NodeId.EVALUATOR, "ModelEvaluation") if _is_blessed(j)]
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for judged in blessed:
            for reason in judged.verdict.reasons:
                is_newest = reason.span is not None and reason.where == f"span={reason.span}"
                if reason.measured is None or (reason.where and not is_newest):
                    continue
                metric, _, bound = reason.kind.rpartition(".")
                what = "newest span" if is_newest else "whole window"
                series = found.setdefault((metric, what), {"bound": "", "points": {}})
                _add(series, judged, reason, bound, reason.span or judged.newest)
        # `whole window` before `newest span`.
        ordered = sorted(sorted(found.items(), reverse=True), key=lambda item: item[0][0])
        return [
            Series(metric, what, series["bound"], tuple(series["points"].values()))
            for (metric, what), series in ordered
        ]

    def drift(self) -> list[Series]:
        """Read the distances of each feature from span to span, closest to the limit first.

        Raises:
            InfrastructureError: ML Metadata does not answer.
        """
        found: dict[tuple[str, str], dict[int, Point]] = {}
        for judged in self._judged(NodeId.DATA_GATE, "GateVerdict"):
            for reason in judged.verdict.reasons:
                if reason.kind != "drift" or reason.measured is None or reason.span is None:
                    continue
                key = (reason.where, reason.text.partition(" to ")[0])
                # A later measurement of the same span replaces the value.
                points = found.setdefault(key, {})
                points[reason.span] = _point(judged, reason, reason.span, reason.limit)
        series = [
            Series(feature, distance, "max", tuple(points[span] for span in sorted(points)))
            for (feature, distance), points in found.items()
        ]
        return sorted(series, key=lambda s: (-s.nearness, s.name))

    def _judged(self, node: str, kind: str) -> list[Judged]:
        """Read a node's verdicts, oldest first."""
        artifacts = self._history.newest_artifacts(node, kind, MAX_ARTIFACTS)[:MAX_VERDICTS]
        new = [artifact for artifact in artifacts if artifact.id not in self._known]
        runs = self._history.run_of(artifact.id for artifact in new)
        for artifact in new:
            run = runs.get(artifact.id, "")
            self._known[artifact.id] = _read(artifact, run, self._newest_span(run))
        found = (self._known[artifact.id] for artifact in reversed(artifacts))
        return [judged for judged in found if judged is not None]

    def _newest_span(self, run: str) -> int | None:
        raw = read_json(self._runs / run / "result.json") if run else None
        try:
            return None if raw is None else max(int(span) for span in raw["window"])
        except (KeyError, TypeError, ValueError):
            return None


def _read(artifact: Any, run: str, newest: int | None) -> Judged | None:
    names = ("outcome", "verdict")
    texts = {
        n: artifact.custom_properties[n].string_value
        for n in names
        if n in artifact.custom_properties
    }
    try:
        verdict = verdict_of([Output(artifact.id, "", artifact.type, artifact.uri, texts)])
    except (OSError, ValueError, KeyError, TypeError):  # its file was removed or is invalid
        return None
    at = datetime.datetime.fromtimestamp(artifact.create_time_since_epoch / 1000, datetime.UTC)
    return None if verdict is None else Judged(at, run, newest, verdict)


def _is_blessed(judged: Judged) -> bool:
    return not judged.verdict.is_blocked


def _add(
    series: dict[str, Any], judged: Judged, reason: Reason, bound: str, span: int | None
) -> None:
    """Add a value; a metric may have both a limit and a comparison with the baseline."""
    before = series["points"].get(judged.at)
    limit = reason.limit if bound in ("min", "max") else None
    if limit is not None:
        series["bound"] = bound
    elif before is not None:
        limit = before.limit
    baseline = reason.baseline if reason.baseline is not None else before and before.baseline
    series["points"][judged.at] = Point(
        judged.at, judged.run, span, float(reason.measured or 0.0), limit, baseline, reason.outcome
    )


def _point(judged: Judged, reason: Reason, span: int, limit: float | None) -> Point:
    value = float(reason.measured or 0.0)
    return Point(judged.at, judged.run, span, value, limit, reason.baseline, reason.outcome)
