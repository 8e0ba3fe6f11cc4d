"""From TFMA's metrics and thresholds to a verdict that leaves nothing out.

TFMA's own validation lists failures only; whoever reads a verdict wants to see every threshold,
what was measured, and how close it was.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from tensorflow_model_analysis.proto import config_pb2

from components.evaluation_thresholds import thresholds_of
from contracts.verdict import Outcome, Reason, Verdict

GATE = "evaluation"
_LOW, _HIGH = -math.inf, math.inf
SliceKey = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Bound:
    """One limit of one metric over the slices that `covers` accepts."""

    metric: str
    kind: str
    limit: float
    keys: tuple[str, ...] | None
    values: SliceKey

    def covers(self, where: SliceKey) -> bool:
        if self.keys is not None:
            return tuple(sorted(k for k, _ in where)) == self.keys
        return where == self.values


def judge(config: Any, metrics: Iterable[Any], newest_span: int) -> Verdict:
    """Holds the measured metrics against every threshold.

    Args:
        config: The `tfma.EvalConfig` that was evaluated, defaults filled in.
        metrics: `MetricsForSlice` protos, as `tfma.load_metrics` reads them.
        newest_span: Number of the newest span, to name its slice.

    Returns:
        One reason per threshold and slice. A threshold whose value is missing or NaN blocks, and
        so does one that matches no slice. Change thresholds pass without a baseline.
    """
    models = {spec.name: spec.is_baseline for spec in config.model_specs}
    has_baseline = any(models.values())
    measured = _measured(metrics, models)
    thresholds = thresholds_of(config)
    slices = sorted({where for _, where, _ in measured})
    reasons = []
    for bound in _bounds(config):
        covered = [where for where in slices if bound.covers(where)]
        if not covered:
            named = ", ".join(bound.keys or ()) or _name(bound.values)
            reasons.append(
                Reason(
                    Outcome.BLOCKED,
                    f"{bound.metric}.{bound.kind}",
                    f"no example in the eval split belongs to slice {named}",
                    where=named,
                    limit=bound.limit,
                    advice="correct the slice in evaluate.thresholds, or bring such data",
                )
            )
        for where in covered:
            value = measured.get((bound.metric, where, False))
            base = measured.get((bound.metric, where, True))
            reason = _reason(bound, where, value, base, has_baseline, newest_span)
            reasons.append(_at_thresholds(reason, bound.metric, thresholds))
    return Verdict.of(GATE, reasons)


def _reason(
    bound: _Bound,
    where: SliceKey,
    value: float | None,
    base: float | None,
    has_baseline: bool,
    newest_span: int,
) -> Reason:
    of = f" on {_name(where)}" if where else ""
    if dict(where).get("span") == str(newest_span):
        of += ", the newest"
    span = int(dict(where)["span"]) if "span" in dict(where) else None
    common: dict[str, Any] = {
        "kind": f"{bound.metric}.{bound.kind}",
        "where": _name(where),
        "span": span,
        "measured": value,
        "limit": bound.limit,
        "baseline": base,
    }
    if value is None or math.isnan(value):
        common["measured"] = None
        return Reason(
            Outcome.BLOCKED,
            **common,
            text=f"{bound.metric}{of} has no value (too few examples, or the model gave NaN)",
            advice="look at the model's predictions, or at the slice's examples",
        )
    if bound.kind in ("max_drop", "max_rise"):
        if not has_baseline or base is None or math.isnan(base):
            text = f"{bound.metric}{of}: {value:.4f}; no baseline to compare with"
            return Reason(Outcome.PASSED, **common, text=text)
        worse = base - value if bound.kind == "max_drop" else value - base
        is_ok = worse <= bound.limit
        verb = "below" if bound.kind == "max_drop" else "above"
        text = (
            f"{bound.metric}{of}: {value:.4f}, baseline {base:.4f}; "
            f"may be at most {bound.limit:g} {verb} it, is {max(worse, 0):.4f}"
        )
    else:
        is_ok = value >= bound.limit if bound.kind == "min" else value <= bound.limit
        least = "at least" if bound.kind == "min" else "at most"
        text = f"{bound.metric}{of}: {value:.4f}, must be {least} {bound.limit:g}"
    if is_ok:
        return Reason(Outcome.PASSED, **common, text=text)
    advice = "train a better model, or correct evaluate.thresholds if the limit is wrong"
    return Reason(Outcome.BLOCKED, **common, text=text, advice=advice)


def _at_thresholds(
    reason: Reason, metric: str, thresholds: dict[tuple[str, bool], float]
) -> Reason:
    """The reason with the threshold that the metric was computed at, and the baseline's."""
    own, base = thresholds.get((metric, False)), thresholds.get((metric, True))
    if own is None:
        return reason
    text = reason.text.replace(metric, f"{metric} at {own:g}", 1)
    if base is not None and base != own and reason.baseline is not None:
        text = re.sub(r"\b(baseline -?\d+\.\d+)", rf"\1 at {base:g}", text, count=1)
    return replace(reason, text=text)


def _bounds(config: Any) -> Iterator[_Bound]:
    for spec in config.metrics_specs:
        for metric in spec.metrics:
            name = _metric_name(metric)
            if metric.HasField("threshold"):
                yield from _limits(name, metric.threshold, (), ())
            for per_slice in metric.per_slice_thresholds:
                for slicing in per_slice.slicing_specs:
                    keys = tuple(sorted(slicing.feature_keys)) or None
                    values = tuple(sorted(slicing.feature_values.items()))
                    yield from _limits(name, per_slice.threshold, keys, values)


def _limits(
    name: str, threshold: Any, keys: tuple[str, ...] | None, values: SliceKey
) -> Iterator[_Bound]:
    is_overall = keys == () and not values
    keys = None if is_overall else keys
    value = threshold.value_threshold
    if value.HasField("lower_bound") and value.lower_bound.value > _LOW:
        yield _Bound(name, "min", value.lower_bound.value, keys, values)
    if value.HasField("upper_bound") and value.upper_bound.value < _HIGH:
        yield _Bound(name, "max", value.upper_bound.value, keys, values)
    change = threshold.change_threshold
    if change.HasField("absolute"):
        is_drop = change.direction == config_pb2.MetricDirection.HIGHER_IS_BETTER
        kind = "max_drop" if is_drop else "max_rise"
        yield _Bound(name, kind, abs(change.absolute.value), keys, values)


def _metric_name(metric: Any) -> str:
    return str(json.loads(metric.config)["name"])


def _measured(
    metrics: Iterable[Any], models: dict[str, bool]
) -> dict[tuple[str, SliceKey, bool], float]:
    """Scalar values by metric, slice, and whether they are the baseline's."""
    found: dict[tuple[str, SliceKey, bool], float] = {}
    for entry in metrics:
        where = tuple(
            sorted((k.column, _slice_value(k)) for k in entry.slice_key.single_slice_keys)
        )
        for pair in entry.metric_keys_and_values:
            key, value = pair.key, pair.value
            if key.is_diff or not value.HasField("double_value"):
                continue
            is_baseline = models.get(key.model_name, False)
            found[(key.name, where, is_baseline)] = value.double_value.value
    return found


def _slice_value(key: Any) -> str:
    kind = key.WhichOneof("kind")
    value = getattr(key, kind) if kind else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _name(where: SliceKey) -> str:
    return ", ".join(f"{k}={v}" for k, v in where)
