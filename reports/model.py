"""What the evaluation measured: metrics by slice, curves, confusion, residuals, importance."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reports.intervals import Floats, Histogram, Interval, interval_of
from reports.record import Record

COUNT = "example_count"
IMPORTANCE_FILE = "importance.json"
_BASELINE = "baseline"
#: Metrics that are errors: less is better.
_LESS_IS_BETTER = ("error", "loss", "crossentropy", "divergence", "hinge")
Where = str


@dataclass(frozen=True)
class Measured:
    """One metric of one slice.

    Attributes:
        value: The candidate's.
        baseline: The baseline's, or None.
        interval: 95 % interval of the candidate's value, or None where nothing gives one.
    """

    value: float
    baseline: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Importance:
    """What shuffling a feature cost: `components.importance` says how it is measured."""

    measure: str
    score: float
    rows: int
    of_rows: int
    left_out: int
    features: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class Evaluation:
    """An evaluation.

    Attributes:
        names: Metrics in the order of the configuration, without the count of examples.
        slices: Slices by name, the whole window under an empty one, each with its metrics.
        counts: Examples of each slice.
        has_baseline: Whether there was a model to compare with.
        candidate, baseline: Predictions by label of the whole window, for a binary model.
        classes: Names of the classes, as far as the model tells.
        threshold: Above it a binary model says the second class.
        confusion: Weight by actual and predicted class, for several classes.
        sample: Labels and predictions of a sample, each `[rows]`, for a number.
        importance: Of the features, or None.
    """

    names: tuple[str, ...]
    slices: dict[Where, dict[str, Measured]]
    counts: dict[Where, float]
    has_baseline: bool
    candidate: Histogram | None
    baseline: Histogram | None
    classes: tuple[str, ...]
    threshold: float
    confusion: dict[tuple[int, int], float]
    sample: tuple[Floats, Floats] | None
    importance: Importance | None

    @property
    def overall(self) -> dict[str, Measured]:
        """Metrics of the whole window."""
        return self.slices.get("", {})


def is_less_better(name: str) -> bool:
    """Whether a smaller value of a metric is the better one."""
    return any(word in name for word in _LESS_IS_BETTER)


def read_evaluation(record: Record) -> Evaluation | None:
    """The evaluation of a run; None if it left none on this machine.

    Imports TensorFlow Model Analysis, which takes seconds in a process that has not yet.
    """
    folder = record.folder_of("Evaluator", "evaluation")
    if folder is None:
        return None
    import tensorflow_model_analysis as tfma  # noqa: PLC0415  see above

    values: dict[Where, dict[str, dict[bool, float]]] = {}
    names: list[str] = []
    for entry in tfma.load_metrics(str(folder)):
        where = _where(entry.slice_key)
        for pair in entry.metric_keys_and_values:
            if pair.key.is_diff or not pair.value.HasField("double_value"):
                continue
            name = pair.key.name + _class_of(pair.key)
            names += [name] if name not in names else []
            both = values.setdefault(where, {}).setdefault(name, {})
            both[pair.key.model_name == _BASELINE] = pair.value.double_value.value
    histograms: dict[tuple[Where, bool], Histogram] = {}
    confusion: dict[tuple[int, int], float] = {}
    for entry in tfma.load_plots(str(folder)):
        where = _where(entry.slice_key)
        for plot in entry.plot_keys_and_values:
            is_baseline = plot.key.model_name == _BASELINE
            found = _histogram(plot.value.calibration_histogram_buckets.buckets)
            if found is not None:
                histograms[where, is_baseline] = found
            matrices = plot.value.multi_class_confusion_matrix_at_thresholds.matrices
            if matrices and not where and not is_baseline:
                confusion = {
                    (e.actual_class_id, e.predicted_class_id): e.num_weighted_examples
                    for e in matrices[0].entries
                }
    raw = _read(folder / IMPORTANCE_FILE)
    sample = _sample(raw) if not histograms and not confusion else None
    counts = {where: found.get(COUNT, {}).get(False, 0.0) for where, found in values.items()}
    classes, threshold = _description(record)
    return Evaluation(
        names=tuple(name for name in names if name != COUNT),
        slices={
            where: {
                name: _measured(name, both, where, counts[where], histograms, sample)
                for name, both in found.items()
                if False in both and name != COUNT
            }
            for where, found in values.items()
        },
        counts=counts,
        has_baseline=any(True in both for found in values.values() for both in found.values()),
        candidate=histograms.get(("", False)),
        baseline=histograms.get(("", True)),
        classes=classes,
        threshold=threshold,
        confusion=confusion,
        sample=sample,
        importance=_importance(raw),
    )


def _measured(
    name: str,
    both: dict[bool, float],
    where: Where,
    count: float,
    histograms: dict[tuple[Where, bool], Histogram],
    sample: tuple[Floats, Floats] | None,
) -> Measured:
    # The sample is of the whole window: it says nothing about the spread within a slice.
    errors = sample[1] - sample[0] if sample is not None and not where else None
    value = both[False]
    interval = interval_of(name, value, count, histograms.get((where, False)), errors)
    return Measured(value, both.get(True), interval)


def _where(key: Any) -> Where:
    parts = []
    for single in key.single_slice_keys:
        kind = single.WhichOneof("kind")
        value = getattr(single, kind) if kind else ""
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        parts.append(f"{single.column}={text}")
    return ", ".join(sorted(parts))


def _class_of(key: Any) -> str:
    """What tells the values of one metric apart that is computed for every class."""
    if not key.HasField("sub_key"):
        return ""
    found = [f"{f.name} {v.value}" for f, v in key.sub_key.ListFields()]
    return f" ({', '.join(found)})"


def _histogram(buckets: Iterable[Any]) -> Histogram | None:
    inner = [b for b in buckets if abs(b.lower_threshold_inclusive) != float("inf")]
    outer = [b for b in buckets if abs(b.lower_threshold_inclusive) == float("inf")]
    is_last_open = [b for b in inner if b.upper_threshold_exclusive == float("inf")]
    inner = [b for b in inner if b.upper_threshold_exclusive != float("inf")]
    if not inner:
        return None
    count = np.array([b.num_weighted_examples.value for b in inner])
    positives = np.array([b.total_weighted_label.value for b in inner])
    predictions = np.array([b.total_weighted_refined_prediction.value for b in inner])
    # Predictions of exactly 1 lie in the last bucket, which has no upper end; those below 0 in
    # the first.
    for edge, open_ones in ((0, outer), (-1, is_last_open)):
        for bucket in open_ones:
            count[edge] += bucket.num_weighted_examples.value
            positives[edge] += bucket.total_weighted_label.value
            predictions[edge] += bucket.total_weighted_refined_prediction.value
    edges = [b.lower_threshold_inclusive for b in inner] + [inner[-1].upper_threshold_exclusive]
    return Histogram(np.array(edges), positives, np.maximum(count - positives, 0.0), predictions)


def _description(record: Record) -> tuple[tuple[str, ...], float]:
    """Classes and threshold, which an exported model carries with it."""
    folder = record.folder_of("Trainer", "model")
    if folder is None:
        return (), 0.5
    from serving.description import read_description  # noqa: PLC0415

    description = read_description(folder / "Format-Serving")
    if description is None:
        return (), 0.5
    classes = tuple(str(name) for name in description.classes)
    return classes, description.threshold if description.threshold is not None else 0.5


def _importance(raw: dict[str, Any] | None) -> Importance | None:
    if raw is None:
        return None
    features = tuple(
        (f["name"], float(np.mean(f["losses"])), float(np.std(f["losses"], ddof=1)))
        for f in raw["features"]
    )
    keys = ("measure", "score", "rows", "of_rows", "left_out")
    return Importance(**{key: raw[key] for key in keys}, features=features)


def _sample(raw: dict[str, Any] | None) -> tuple[Floats, Floats] | None:
    if raw is None or raw["measure"] != "rmse" or not raw["predictions"]:
        return None
    return np.array(raw["labels"]), np.array(raw["predictions"])


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    raw = json.loads(path.read_text(encoding="utf-8"))
    return raw if isinstance(raw, dict) else None
