"""Charts of a model's predictions: curves, calibration, distribution of scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ordain.reports.charts.base import (
    BASELINE,
    CANDIDATE,
    DASHED,
    DOTTED,
    INK,
    SIDE,
    SOFT,
    Chart,
    Rows,
    Spec,
    axis,
    diagonal,
    layer,
    layered,
    line,
    points,
    rule,
    steps,
    thinned,
)
from ordain.reports.facts.confusion import read_confusion
from ordain.reports.facts.formatting import fixed, number, plain
from ordain.reports.facts.intervals import Floats, Histogram, wilson
from ordain.reports.facts.model import Evaluation

#: Ticks of an axis from 0 to 1.
_UNIT = [0, 0.2, 0.4, 0.6, 0.8, 1]
_CALIBRATION_BINS = 20
#: x and y at the lower end of each bucket, from high to low.
Curve = Callable[[Histogram], tuple[list[float], list[float]]]
_KEYS = (("candidate", CANDIDATE, "line"), ("baseline", BASELINE, "dashed"))


def roc(evaluation: Evaluation) -> Chart | None:
    """Chart ROC curves; None without a positive or a negative."""
    if evaluation.candidate is None or not _has_both(evaluation.candidate):
        return None
    x = axis("x", "false positive rate", domain=[0, 1], values=_UNIT)
    y = axis("y", "true positive rate", domain=[0, 1], values=_UNIT)
    layers = [diagonal(x, y), *_curves(evaluation, _rates, x, y)]
    value = evaluation.overall.get("auc")
    area = f" Area under it: {fixed(value.value)}." if value else ""
    caption = (
        f"True against false positive rate over all thresholds.{area} The point is the threshold "
        f"{number(evaluation.threshold)}; the dotted line is a model that guesses."
    )
    return Chart("ROC curve", caption, layered(layers, SIDE, SIDE), _keys(evaluation))


def precision_recall(evaluation: Evaluation) -> Chart | None:
    """Chart precision-recall curves."""
    if evaluation.candidate is None or not _has_both(evaluation.candidate):
        return None
    x = axis("x", "recall", domain=[0, 1], values=_UNIT)
    y = axis("y", "precision", domain=[0, 1], values=_UNIT)
    total = evaluation.candidate.positives.sum() + evaluation.candidate.negatives.sum()
    prevalence = float(evaluation.candidate.positives.sum() / total) if total else 0.0
    guess = rule(prevalence, "y", SOFT, strokeDash=DOTTED)
    layers = [guess, *_curves(evaluation, _precision_recall, x, y)]
    caption = (
        f"Precision against recall over all thresholds. The point is the threshold "
        f"{number(evaluation.threshold)}; the dotted line is the share of positives, "
        f"{100 * prevalence:.1f} %, which a model that guesses reaches."
    )
    return Chart("Precision-recall curve", caption, layered(layers, SIDE, SIDE), _keys(evaluation))


def calibration(evaluation: Evaluation) -> Chart | None:
    """Chart the observed share of positives by prediction, with its interval."""
    if evaluation.candidate is None:
        return None
    x = axis("x", "mean prediction", domain=[0, 1], values=_UNIT)
    y = axis("y", "share of positives", domain=[0, 1], values=_UNIT)
    layers = [diagonal(x, y)]
    for histogram, colour, dash in _both(evaluation):
        rows = _reliability(histogram)
        if histogram is evaluation.candidate:
            interval = {"type": "rule", "color": colour, "opacity": 0.6}
            layers.append(layer(interval, rows, x=x, y={**y, "field": "low"}, y2="high"))
            layers.append(points(rows, x, y, colour, size=26))
        layers.append(line(rows, x, y, colour, strokeDash=dash, strokeWidth=1.2))
    caption = (
        f"Share of positives in {_CALIBRATION_BINS} bins of the prediction against the mean "
        "prediction of the bin, bars: 95 % (Wilson). On the dotted line a prediction is a "
        "probability."
    )
    return Chart("Calibration", caption, layered(layers, SIDE, SIDE), _keys(evaluation))


def spread(evaluation: Evaluation) -> Chart | None:
    """Chart the distribution of predictions, by label."""
    if evaluation.candidate is None:
        return None
    x = axis("x", "prediction", domain=[0, 1], values=_UNIT, grid=False)
    y = axis("y", "share of the label's examples", format="%", zero=True)
    layers: list[Spec] = []
    edges = np.linspace(0, 1, 41)
    for values, colour in (
        (evaluation.candidate.negatives, SOFT),
        (evaluation.candidate.positives, CANDIDATE),
    ):
        rows = steps(edges, _rebin(values, 40) / (values.sum() or 1.0))
        layers.append(line(rows, x, y, colour, interpolate="step-after", strokeDash=[1, 0]))
    layers.append(rule(evaluation.threshold, "x", INK))
    negative, positive = (
        (*evaluation.classes, "0", "1")[:2] if len(evaluation.classes) == 2 else ("0", "1")
    )
    keys = (
        (f"label: {plain(positive, 30)}", CANDIDATE, "line"),
        (f"label: {plain(negative, 30)}", SOFT, "line"),
    )
    caption = (
        "Predictions of the examples of each label; the line across is the threshold "
        f"{number(evaluation.threshold)}."
    )
    return Chart("Predictions by label", caption, layered(layers, SIDE, SIDE), keys)


def _keys(evaluation: Evaluation) -> tuple[tuple[str, str, str], ...]:
    return _KEYS if evaluation.has_baseline else _KEYS[:1]


def _both(evaluation: Evaluation) -> list[tuple[Histogram, str, list[int]]]:
    found = [(evaluation.baseline, BASELINE, DASHED), (evaluation.candidate, CANDIDATE, [1, 0])]
    return [(histogram, colour, dash) for histogram, colour, dash in found if histogram is not None]


def _curves(evaluation: Evaluation, curve: Curve, x: Spec, y: Spec) -> list[Spec]:
    """Build both models' curves, and the candidate's point at its threshold."""
    layers = []
    for histogram, colour, dash in _both(evaluation):
        pairs = [pair for pair in zip(*curve(histogram), strict=True) if np.isfinite(pair[1])]
        rows = [{"x": across, "y": up, "i": i} for i, (across, up) in enumerate(pairs)]
        layers.append(line(thinned(rows), x, y, colour, strokeDash=dash))
    cut = _cut(evaluation)
    if cut is not None:
        # From high to low: nothing, then the bucket from the threshold on.
        across, up = (values[1] for values in curve(cut))
        if np.isfinite(up):
            layers.append(points([{"x": across, "y": up}], x, y, INK))
    return layers


def _rates(histogram: Histogram) -> tuple[list[float], list[float]]:
    """Compute false and true positive rates at the lower end of each bucket, from high to low."""
    rates = []
    for values in (histogram.negatives, histogram.positives):
        total = values.sum()
        over = np.cumsum(values[::-1]) / (total or 1.0)
        rates.append([0.0, *map(float, over)])
    return rates[0], rates[1]


def _precision_recall(histogram: Histogram) -> tuple[list[float], list[float]]:
    """Recall and precision in the same places; precision is NaN where nothing is predicted."""
    true = np.cumsum(histogram.positives[::-1])
    false = np.cumsum(histogram.negatives[::-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = true / (true + false)
    recall = true / (histogram.positives.sum() or 1.0)
    return [float("nan"), *map(float, recall)], [float("nan"), *map(float, precision)]


def _cut(evaluation: Evaluation) -> Histogram | None:
    """Split the candidate's predictions into two buckets: below the threshold, and from it on."""
    found = read_confusion(evaluation)
    if evaluation.candidate is None or found is None or found.threshold is None:
        return None
    negatives, positives = (np.array([cell.count for cell in row]) for row in found.rows)
    edges = np.array([0.0, found.threshold, 1.0])
    return Histogram(edges, positives, negatives, np.zeros(2))


def _reliability(histogram: Histogram) -> Rows:
    rows: Rows = []
    positives = _rebin(histogram.positives, _CALIBRATION_BINS)
    negatives = _rebin(histogram.negatives, _CALIBRATION_BINS)
    predictions = _rebin(histogram.predictions, _CALIBRATION_BINS)
    for p, n, total in zip(positives, negatives, predictions, strict=True):
        if p + n < 1:
            continue
        share = float(p / (p + n))
        interval = wilson(share, float(p + n))
        rows.append(
            {
                "x": float(total / (p + n)),
                "y": share,
                "low": interval.low,
                "high": interval.high,
                "i": len(rows),
            }
        )
    return rows


def _rebin(values: Floats, count: int) -> Floats:
    """Sum neighbouring buckets."""
    places = np.minimum(np.arange(len(values)) * count // len(values), count - 1)
    sums: Floats = np.bincount(places, weights=values, minlength=count).astype(np.float64)
    return sums


def _has_both(histogram: Histogram) -> bool:
    return bool(histogram.positives.sum() and histogram.negatives.sum())
