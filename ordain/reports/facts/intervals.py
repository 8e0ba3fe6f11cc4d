"""Confidence intervals of metrics, from the stored evaluation.

TFMA's own intervals (jackknife, Poisson bootstrap over examples) evaluate the examples twenty
times. The histogram of predictions by label is the sample up to the width of its buckets, so
resampling its cells is a bootstrap of the examples (Poisson bootstrap: Chamandy et al., Estimating
Uncertainty for Massive Data Streams, Google, 2012).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Share of the draws between the ends of an interval.
LEVEL = 0.95
Z = 1.959964
DRAWS = 300
_SEED = 1


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval.

    Attributes:
        low, high: Its ends.
        method: `bootstrap`, `wilson` or `normal`.
    """

    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Histogram:
    """Predictions of a binary model by label, in buckets of equal width from 0 to 1.

    Attributes:
        edges: Ends of the buckets, `[buckets + 1]`.
        positives: Weight of the examples with label 1, `[buckets]`.
        negatives: Weight of those with label 0, `[buckets]`.
        predictions: Sum of the predictions times their weights, `[buckets]`.
    """

    edges: Floats
    positives: Floats
    negatives: Floats
    predictions: Floats

    def place(self, threshold: float) -> int:
        """Index of the first bucket at or above a threshold."""
        return int(np.searchsorted(self.edges, threshold, side="left"))


def auc(positives: Floats, negatives: Floats, start: int = 0) -> Floats:
    """Area under the ROC curve; pairs within a bucket count half. `[..., buckets]` to `[...]`."""
    below = np.cumsum(negatives, axis=-1) - negatives
    pairs = positives.sum(-1) * negatives.sum(-1)
    return ((below + negatives / 2) * positives).sum(-1) / np.where(pairs == 0, np.nan, pairs)


def average_precision(positives: Floats, negatives: Floats, start: int = 0) -> Floats:
    """Area under the precision-recall curve, in steps of the buckets."""
    true = np.cumsum(positives[..., ::-1], axis=-1)
    false = np.cumsum(negatives[..., ::-1], axis=-1)
    precision = true / np.maximum(true + false, 1e-12)
    return (precision * positives[..., ::-1]).sum(-1) / np.maximum(positives.sum(-1), 1e-12)


def _above(values: Floats, start: int) -> Floats:
    """Sum the weights from a bucket on."""
    return values[..., start:].sum(-1)


def accuracy(positives: Floats, negatives: Floats, start: int) -> Floats:
    """Accuracy with the decision threshold at the start of a bucket."""
    total = positives.sum(-1) + negatives.sum(-1)
    right = _above(positives, start) + negatives.sum(-1) - _above(negatives, start)
    return right / np.maximum(total, 1e-12)


def precision(positives: Floats, negatives: Floats, start: int) -> Floats:
    """Precision of predictions from a bucket on."""
    true, false = _above(positives, start), _above(negatives, start)
    return true / np.maximum(true + false, 1e-12)


def recall(positives: Floats, negatives: Floats, start: int) -> Floats:
    """Recall of predictions from a bucket on."""
    return _above(positives, start) / np.maximum(positives.sum(-1), 1e-12)


#: Metrics that a histogram gives, by TFMA's names with our spelling (`ordain.config.thresholds`).
OF_HISTOGRAM: dict[str, Callable[[Floats, Floats, int], Floats]] = {
    "auc": auc,
    "auc_precision_recall": average_precision,
    "binary_accuracy": accuracy,
    "precision": precision,
    "recall": recall,
}
_SHARES = ("binary_accuracy", "sparse_categorical_accuracy", "categorical_accuracy", "accuracy")
_ERRORS: dict[str, Callable[[Floats], Floats]] = {
    "mean_squared_error": np.square,
    "mean_absolute_error": np.abs,
}


def bootstrap(histogram: Histogram, name: str, value: float, threshold: float) -> Interval | None:
    """Bootstrap an interval around a measured value, from Poisson draws of the histogram's cells.

    Args:
        histogram: The predictions.
        name: One of `OF_HISTOGRAM`.
        value: TFMA's value, the centre of the interval.
        threshold: Decision threshold, for metrics that depend on it.

    Returns:
        None unless both labels occur.
    """
    compute = OF_HISTOGRAM[name]
    if not (histogram.positives.sum() and histogram.negatives.sum()):
        return None
    start = histogram.place(threshold)
    generator = np.random.default_rng(_SEED)
    shape = (DRAWS, len(histogram.positives))
    draws = compute(
        generator.poisson(histogram.positives, shape).astype(np.float64),
        generator.poisson(histogram.negatives, shape).astype(np.float64),
        start,
    )
    draws = draws[np.isfinite(draws)]
    if len(draws) < DRAWS / 2:
        return None
    estimate = float(compute(histogram.positives, histogram.negatives, start))
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = value + float(low) - estimate, value + float(high) - estimate
    return Interval(max(0.0, low), min(1.0, high), "bootstrap")


def wilson(value: float, count: float) -> Interval:
    """An interval of a share (Wilson, Probable Inference, JASA 1927).

    Args:
        value: The share.
        count: Number of examples.
    """
    centre = (value + Z**2 / (2 * count)) / (1 + Z**2 / count)
    spread = math.sqrt(value * (1 - value) / count + Z**2 / (4 * count**2)) * Z / (1 + Z**2 / count)
    return Interval(max(0.0, centre - spread), min(1.0, centre + spread), "wilson")


def normal(name: str, value: float, errors: Floats, count: float) -> Interval | None:
    """An interval of a mean error, from the spread of the errors in a sample.

    Args:
        name: The metric.
        value: TFMA's value over all examples.
        errors: Prediction minus label of the sample.
        count: Number of all examples.
    """
    is_root = name == "root_mean_squared_error"
    transform = np.square if is_root else _ERRORS.get(name)
    if transform is None or len(errors) < 2 or count < 2:
        return None
    spread = Z * float(np.std(transform(errors), ddof=1)) / math.sqrt(count)
    if is_root:  # the delta method
        spread /= 2 * value if value else 1.0
    return Interval(max(0.0, value - spread), value + spread, "normal")


def interval_of(
    kind: str,
    value: float,
    count: float | None,
    histogram: Histogram | None,
    errors: Floats | None,
    threshold: float,
) -> Interval | None:
    """Compute an interval with the first applicable method; None if there is none."""
    if kind in _SHARES and count:
        return wilson(value, count)
    if kind in OF_HISTOGRAM and histogram is not None:
        return bootstrap(histogram, kind, value, threshold)
    if errors is not None and count:
        return normal(kind, value, errors, count)
    return None
