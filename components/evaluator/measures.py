"""Measured values of an evaluation by slice, or the reason why a value is undefined.

TFMA and Keras return a number for everything: the AUC of a slice of one class is 0.0. Such values
are marked undefined, with the reason, before a threshold or a page reads them.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ordain.components.evaluator.rows import CLASS_NAME, NAME, SliceRows
from ordain.components.evaluator.thresholds import classes_of
from ordain.components.evaluator.trivial import TrivialMetrics, constants_of

#: A slice: its columns with their values, sorted by column; empty for the whole window.
SliceKey = tuple[tuple[str, str], ...]
_CURVES = ("AtSpecificity", "AtSensitivity", "AtRecall", "AtPrecision")
#: Without positives (negatives) these have a value that no prediction can change.
_NEED_POSITIVES = {
    *("AUC", "AUCPrecisionRecall", "BalancedAccuracy", "Markedness"),
    *("Precision", "PPV", "F1Score", "ThreatScore", "FalseDiscoveryRate", "Recall", "TPR"),
}
_NEED_NEGATIVES = {
    *("AUC", "AUCPrecisionRecall", "BalancedAccuracy", "Markedness"),
    *("NegativePredictiveValue", "NPV", "FalseOmissionRate", "Specificity", "TNR", "FPR"),
}
#: These are NaN, where there are both, if no row is predicted as positive.
_NEED_PREDICTED = {"Precision", "PPV", "FalseDiscoveryRate"}


@dataclass(frozen=True)
class Measure:
    """One metric of one slice and model.

    Attributes:
        value: The value; None if it is undefined.
        undefined: The reason, such as `26 rows, no positive`; empty if defined.
        is_missing: True if TFMA computed no such number for any data.
    """

    value: float | None
    undefined: str = ""
    is_missing: bool = False


@dataclass(frozen=True)
class Trivial:
    """Name of a trivial predictor and its value."""

    name: str
    value: float


class Measures:
    """All measured values of an evaluation.

    Attributes:
        values: By metric, slice, and whether it is the baseline's.
        rows: Rows of each slice, where counted, with the candidate's predictions.
        baseline_nan: Rows of the whole window for which the baseline predicted NaN.
    """

    def __init__(
        self,
        config: Any,
        values: dict[tuple[str, SliceKey, bool], Measure],
        rows: dict[SliceKey, SliceRows],
        baseline_nan: int = 0,
    ) -> None:
        """Takes the attributes, and the `tfma.EvalConfig`."""
        self.values = values
        self.rows = rows
        self.baseline_nan = baseline_nan
        self._constants = constants_of(rows.get((), SliceRows()))
        self._metrics = TrivialMetrics(config) if self._constants else None
        self._trivial: dict[tuple[str, SliceKey], list[Trivial]] = {}

    def of(self, metric: str, where: SliceKey, is_baseline: bool = False) -> Measure:
        """A metric of a slice; undefined where TFMA computed none."""
        key = (metric, where, is_baseline)
        found = [self.values[key]] if key in self.values else self._parts(*key)
        if len(found) == 1:
            return found[0]
        many = f"{len(found)} values; a limit needs one" if found else "not computed"
        return Measure(None, f"{_count(self.rows.get(where))}{many}", is_missing=True)

    def _parts(self, metric: str, where: SliceKey, is_baseline: bool) -> list[Measure]:
        return [
            measure
            for (name, slice_, of_baseline), measure in self.values.items()
            if (slice_, of_baseline) == (where, is_baseline) and name.startswith(f"{metric} (")
        ]

    def trivial_so_far(self, metric: str, where: SliceKey) -> list[Trivial]:
        """The values of `trivial` that were computed so far: of slices with a threshold."""
        return self._trivial.get((metric, where), [])

    def trivial(self, metric: str, where: SliceKey) -> list[Trivial]:
        """Values of trivial predictors for a metric on a slice; undefined ones are omitted."""
        if self._metrics is None or where not in self.rows:
            return []
        key = (metric, where)
        if key not in self._trivial:
            pairs = [
                (c.name, self._metrics.measure(metric, self.rows[where], c))
                for c in self._constants
            ]
            self._trivial[key] = [
                Trivial(name, value) for name, value in pairs if value is not None
            ]
        return self._trivial[key]


def read_measures(config: Any, metrics: Iterable[Any]) -> Measures:
    """Reads measured values and marks undefined ones.

    Args:
        config: The `tfma.EvalConfig` that was evaluated, defaults filled in.
        metrics: `MetricsForSlice` protos, as `tfma.load_metrics` reads them.
    """
    entries = list(metrics)
    baselines = {spec.name for spec in config.model_specs if spec.is_baseline}
    rows: dict[SliceKey, SliceRows] = {}
    baseline_nan = 0
    for entry in entries:
        where = slice_key(entry.slice_key)
        for pair in entry.metric_keys_and_values:
            if pair.key.name == NAME and pair.value.HasField("bytes_value"):
                found = SliceRows.from_json(pair.value.bytes_value)
                if pair.key.model_name not in baselines:
                    rows[where] = found
                elif not where:
                    baseline_nan = found.nan
    classes = classes_of(config)
    parts: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        for pair in entry.metric_keys_and_values:
            parts[pair.key.name].add(class_of(pair.key))
    values = {}
    for entry in entries:
        where = slice_key(entry.slice_key)
        for pair in entry.metric_keys_and_values:
            if pair.key.is_diff or not pair.value.HasField("double_value"):
                continue
            name, value = pair.key.name, pair.value.double_value.value
            why = _why_undefined(classes.get(name, ""), pair.key, value, rows.get(where))
            is_baseline = pair.key.model_name in baselines
            # A metric with a single value needs no suffix.
            part = class_of(pair.key) if len(parts[name]) > 1 else ""
            key = (name + part, where, is_baseline)
            values[key] = Measure(None, why) if why else Measure(value)
    return Measures(config, values, rows, baseline_nan)


def policies_of(config: Any) -> dict[str, Any]:
    """Policies for undefined values by metric, from `ordain.pipeline.eval_config`."""
    for spec in config.metrics_specs:
        for metric in spec.metrics:
            if metric.class_name == CLASS_NAME:
                return dict(json.loads(metric.config).get("limits") or {})
    return {}


def slice_key(key: Any) -> SliceKey:
    """TFMA's slice key, sorted by column, values as text."""
    parts = []
    for single in key.single_slice_keys:
        kind = single.WhichOneof("kind")
        value = getattr(single, kind) if kind else ""
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        parts.append((single.column, text))
    return tuple(sorted(parts))


def slice_name(where: SliceKey) -> str:
    """Name of a slice in verdicts: `origin=JFK`; empty for the whole window."""
    return ", ".join(f"{column}={value}" for column, value in where)


def _why_undefined(kind: str, key: Any, value: float, rows: SliceRows | None) -> str:
    """The reason why a value is undefined, or an empty text."""
    count = _count(rows)
    if rows is not None and kind not in ("ExampleCount", "WeightedExampleCount"):
        if rows.rows == 0:
            return "no rows"
        if rows.weight <= 0:
            return f"{count}of weight 0"
        positives, negatives = _sides(key, rows)
        if positives == 0 and (kind in _NEED_POSITIVES or kind.endswith(_CURVES)):
            return f"{count}no positive"
        if negatives == 0 and (kind in _NEED_NEGATIVES or kind.endswith(_CURVES)):
            return f"{count}no negative"
        if math.isnan(value):
            if positives == 0 or negatives == 0:
                return f"{count}no {'positive' if positives == 0 else 'negative'}"
            if kind in _NEED_PREDICTED and positives:
                return f"{count}none predicted as positive"
            if len(rows.labels) == 1:
                return f"{count}every label is {rows.labels[0, 0]:g}"
    if math.isfinite(value):
        return ""
    return f"{count}the metric is {'0/0 or NaN' if math.isnan(value) else 'infinite'}"


def _sides(key: Any, rows: SliceRows) -> tuple[float | None, float | None]:
    """Weight of positive and of negative rows; None where classes do not apply."""
    if key.HasField("sub_key"):
        if not key.sub_key.HasField("class_id"):
            return None, None
        positives = rows.weight_of(float(key.sub_key.class_id.value))
        return positives, rows.weight - positives
    return (rows.weight_of(1.0), rows.weight_of(0.0)) if rows.is_binary else (None, None)


def _count(rows: SliceRows | None) -> str:
    if rows is None:
        return ""
    return f"{rows.rows:,} row{'s' * (rows.rows != 1)}, "


def class_of(key: Any) -> str:
    """Suffix that distinguishes the values of a metric that is computed for every class."""
    if not key.HasField("sub_key"):
        return ""
    found = [f"{field.name} {value.value}" for field, value in key.sub_key.ListFields()]
    return f" ({', '.join(found)})"
