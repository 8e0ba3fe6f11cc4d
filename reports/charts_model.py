"""Charts of the model: curves, calibration, slices, importance, residuals."""

from __future__ import annotations

import numpy as np

from reports.charts import (
    BASELINE,
    CANDIDATE,
    DASHED,
    DOTTED,
    INK,
    LIMIT,
    SOFT,
    Chart,
    Rows,
    Spec,
    axis,
    diagonal,
    layered,
    line,
    points,
    rule,
    thinned,
)
from reports.intervals import Floats, Histogram, wilson
from reports.model import Evaluation, Importance
from reports.text import fixed, number, plain

_SIDE = 290
#: Ticks of an axis from 0 to 1.
_UNIT = [0, 0.2, 0.4, 0.6, 0.8, 1]
_CALIBRATION_BINS = 20
#: Slices and features in a chart; the tables hold them all.
MAX_BARS = 30
_KEYS = (("candidate", CANDIDATE, "line"), ("baseline", BASELINE, "dashed"))


def roc(evaluation: Evaluation) -> Chart | None:
    """ROC curves."""
    if evaluation.candidate is None:
        return None
    x = axis("x", "false positive rate", domain=[0, 1], values=_UNIT)
    y = axis("y", "true positive rate", domain=[0, 1], values=_UNIT)
    layers = [diagonal(x, y)]
    for histogram, colour, dash in _both(evaluation):
        true, false = _rates(histogram)
        rows = [{"x": f, "y": t, "i": i} for i, (t, f) in enumerate(zip(true, false, strict=True))]
        layers.append(line(thinned(rows), x, y, colour, strokeDash=dash))
    true, false = _rates(evaluation.candidate)
    place = _place(evaluation.candidate, evaluation.threshold)
    layers.append(points([{"x": false[place], "y": true[place]}], x, y, INK))
    value = evaluation.overall.get("auc")
    area = f" Area under it: {fixed(value.value)}." if value else ""
    caption = (
        f"True against false positive rate over all thresholds.{area} The point is the threshold "
        f"{number(evaluation.threshold)}; the dotted line is a model that guesses."
    )
    return Chart("ROC curve", caption, layered(layers, _SIDE, _SIDE), _keys(evaluation))


def precision_recall(evaluation: Evaluation) -> Chart | None:
    """Precision-recall curves."""
    if evaluation.candidate is None:
        return None
    x = axis("x", "recall", domain=[0, 1], values=_UNIT)
    y = axis("y", "precision", domain=[0, 1], values=_UNIT)
    total = evaluation.candidate.positives.sum() + evaluation.candidate.negatives.sum()
    prevalence = float(evaluation.candidate.positives.sum() / total) if total else 0.0
    layers = [rule(prevalence, "y", SOFT, strokeDash=DOTTED)]
    for histogram, colour, dash in _both(evaluation):
        recall, precision = _precision_recall(histogram)
        pairs = [(r, p) for r, p in zip(recall, precision, strict=True) if np.isfinite(p)]
        rows = [{"x": r, "y": p, "i": i} for i, (r, p) in enumerate(pairs)]
        layers.append(line(thinned(rows), x, y, colour, strokeDash=dash))
    recall, precision = _precision_recall(evaluation.candidate)
    place = _place(evaluation.candidate, evaluation.threshold)
    if np.isfinite(precision[place]):
        layers.append(points([{"x": recall[place], "y": precision[place]}], x, y, INK))
    caption = (
        f"Precision against recall over all thresholds. The point is the threshold "
        f"{number(evaluation.threshold)}; the dotted line is the share of positives, "
        f"{100 * prevalence:.1f} %, which a model that guesses reaches."
    )
    return Chart(
        "Precision-recall curve", caption, layered(layers, _SIDE, _SIDE), _keys(evaluation)
    )


def calibration(evaluation: Evaluation) -> Chart | None:
    """Observed share of positives by prediction, with its interval."""
    if evaluation.candidate is None:
        return None
    x = axis("x", "mean prediction", domain=[0, 1], values=_UNIT)
    y = axis("y", "share of positives", domain=[0, 1], values=_UNIT)
    layers = [diagonal(x, y)]
    for histogram, colour, dash in _both(evaluation):
        rows = _reliability(histogram)
        is_candidate = histogram is evaluation.candidate
        if is_candidate:
            layers.append(
                {
                    "data": {"values": rows},
                    "mark": {"type": "rule", "color": colour, "opacity": 0.6},
                    "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
                }
            )
            layers.append(points(rows, x, y, colour, size=26))
        layers.append(line(rows, x, y, colour, strokeDash=dash, strokeWidth=1.2))
    caption = (
        f"Share of positives in {_CALIBRATION_BINS} bins of the prediction against the mean "
        "prediction of the bin, bars: 95 % (Wilson). On the dotted line a prediction is a "
        "probability."
    )
    return Chart("Calibration", caption, layered(layers, _SIDE, _SIDE), _keys(evaluation))


def spread(evaluation: Evaluation) -> Chart | None:
    """How the predictions are distributed, by label."""
    if evaluation.candidate is None:
        return None
    x = axis("x", "prediction", domain=[0, 1], values=_UNIT, grid=False)
    y = axis("y", "share of the label's examples", format="%", zero=True)
    layers: list[Spec] = []
    edges = np.linspace(0, 1, 41)
    for values, colour, dash in (
        (evaluation.candidate.negatives, SOFT, [1, 0]),
        (evaluation.candidate.positives, CANDIDATE, [1, 0]),
    ):
        binned = values.reshape(-1) if len(values) < 40 else _rebin(values, 40)
        total = binned.sum()
        rows = [
            {"x": float(edges[i]), "y": float(v / total) if total else 0.0, "i": i}
            for i, v in enumerate([*binned, binned[-1]])
        ]
        layers.append(line(rows, x, y, colour, interpolate="step-after", strokeDash=dash))
    layers.append(rule(evaluation.threshold, "x", INK))
    negative, positive = (
        (*evaluation.classes, "0", "1")[:2] if len(evaluation.classes) == 2 else ("0", "1")
    )
    keys = (
        (f"label: {plain(positive, 30)}", CANDIDATE, "line"),
        (f"label: {plain(negative, 30)}", SOFT, "line"),
    )
    caption = "Predictions of the examples of each label; dashed: the threshold."
    return Chart("Predictions by label", caption, layered(layers, _SIDE, _SIDE), keys)


def slices(evaluation: Evaluation, metric: str, limits: dict[str, float]) -> Chart | None:
    """One metric of every slice with its interval, baseline and limit, worst first.

    Args:
        evaluation: The evaluation.
        metric: The metric.
        limits: Limit by slice, as far as there are any.
    """
    from reports.slices import ranked  # noqa: PLC0415  it takes the names from here

    rows: Rows = []
    every = ranked(evaluation, metric)
    for where in every[:MAX_BARS]:
        found = evaluation.slices[where][metric]
        row = {"s": plain(where, 40) or "whole window", "k": len(rows), "v": found.value}
        if found.interval is not None:
            row |= {"a": found.interval.low, "b": found.interval.high}
        if found.baseline is not None:
            row["o"] = found.baseline
        if where in limits:
            row["l"] = limits[where]
        rows.append(row)
    if len(rows) < 2:
        return None
    y: Spec = {"field": "s", "type": "nominal", "sort": None, "axis": {"title": None}}
    x = axis("v", metric)
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "color": CANDIDATE, "strokeWidth": 2},
            "encoding": {"x": axis("a", metric), "x2": {"field": "b"}, "y": y},
        },
        {
            "mark": {"type": "point", "color": BASELINE, "filled": False, "size": 46},
            "encoding": {"x": axis("o", metric), "y": y},
        },
        {
            "mark": {"type": "point", "color": CANDIDATE, "filled": True, "size": 46, "opacity": 1},
            "encoding": {"x": x, "y": y},
        },
        {
            "mark": {"type": "tick", "color": LIMIT, "thickness": 2, "height": 14},
            "encoding": {"x": axis("l", metric), "y": y},
        },
    ]
    keys = (
        ("candidate, 95 % interval", CANDIDATE, "point"),
        *([("baseline", BASELINE, "ring")] if evaluation.has_baseline else []),
        *([("limit", LIMIT, "tick")] if limits else []),
    )
    spec = {"width": 480, "height": {"step": 20}, "data": {"values": rows}, "layer": layers}
    cut = f"; the worst {MAX_BARS} of {len(every)}" if len(every) > MAX_BARS else ""
    return Chart(f"{metric} by slice", f"Worst first{cut}.", spec, keys)


def importance(found: Importance) -> Chart | None:
    """What shuffling each feature costs."""
    if not found.features:
        return None
    rows = [
        {"f": plain(name, 40), "v": mean, "a": mean - error, "b": mean + error}
        for name, mean, error in found.features[:MAX_BARS]
    ]
    y: Spec = {"field": "f", "type": "nominal", "sort": None, "axis": {"title": None}}
    x = axis("v", f"loss of {found.measure} when shuffled", zero=True)
    layers: list[Spec] = [
        {
            "mark": {"type": "bar", "color": CANDIDATE, "opacity": 0.55, "height": {"band": 0.65}},
            "encoding": {"x": x, "y": y},
        },
        {
            "mark": {"type": "rule", "color": INK, "strokeWidth": 1.2},
            "encoding": {"x": axis("a", None), "x2": {"field": "b"}, "y": y},
        },
    ]
    layers[1]["encoding"]["x"].pop("axis")
    caption = (
        f"Mean over 3 shuffles and its standard deviation, on {found.rows:,} of "
        f"{found.of_rows:,} eval rows, where {found.measure} is {fixed(found.score)}. Features "
        "that carry the same information share their importance."
    )
    spec = {"width": 420, "height": {"step": 19}, "data": {"values": rows}, "layer": layers}
    return Chart("Permutation importance", caption, spec)


def residuals(labels: Floats, predictions: Floats) -> list[Chart]:
    """Predicted against actual, and the distribution of the errors."""
    rows = [{"x": float(a), "y": float(p)} for a, p in zip(labels, predictions, strict=True)]
    low = float(min(labels.min(), predictions.min()))
    high = float(max(labels.max(), predictions.max()))
    ends = [{"x": low, "y": low, "i": 0}, {"x": high, "y": high, "i": 1}]
    x, y = axis("x", "label"), axis("y", "prediction")
    ideal = line(ends, x, y, SOFT, strokeWidth=1, strokeDash=DOTTED)
    cloud = points(thinned(rows, 800), x, y, CANDIDATE, size=12, opacity=0.5)
    sample = f"A sample of {len(labels):,} eval rows."
    first = Chart(
        "Predicted against actual",
        f"{sample} On the dotted line the prediction is the label.",
        layered([ideal, cloud], _SIDE, _SIDE),
    )
    errors = predictions - labels
    counts, edges = np.histogram(errors, bins=30)
    bars = [
        {"x": float(e), "y": float(c / len(errors)), "i": i}
        for i, (e, c) in enumerate(zip(edges, [*counts, counts[-1]], strict=True))
    ]
    x = axis("x", "prediction − label", grid=False)
    y = axis("y", "share of rows", format="%", zero=True)
    step = line(bars, x, y, CANDIDATE, interpolate="step-after")
    mean = float(errors.mean())
    caption = f"{sample} Mean {number(mean)}, standard deviation {number(float(errors.std()))}."
    second = Chart(
        "Residuals", caption, layered([rule(0, "x", SOFT, strokeDash=DASHED), step], _SIDE, _SIDE)
    )
    return [first, second]


def _keys(evaluation: Evaluation) -> tuple[tuple[str, str, str], ...]:
    return _KEYS if evaluation.has_baseline else _KEYS[:1]


def _both(evaluation: Evaluation) -> list[tuple[Histogram, str, list[int]]]:
    found = [(evaluation.baseline, BASELINE, DASHED), (evaluation.candidate, CANDIDATE, [1, 0])]
    return [(histogram, colour, dash) for histogram, colour, dash in found if histogram is not None]


def _rates(histogram: Histogram) -> tuple[list[float], list[float]]:
    """True and false positive rates at the lower end of each bucket, from high to low."""
    rates = []
    for values in (histogram.positives, histogram.negatives):
        total = values.sum()
        over = np.cumsum(values[::-1]) / (total or 1.0)
        rates.append([0.0, *map(float, over)])
    return rates[0], rates[1]


def _precision_recall(histogram: Histogram) -> tuple[list[float], list[float]]:
    true = np.cumsum(histogram.positives[::-1])
    false = np.cumsum(histogram.negatives[::-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = true / (true + false)
    recall = true / (histogram.positives.sum() or 1.0)
    return [float("nan"), *map(float, recall)], [float("nan"), *map(float, precision)]


def _place(histogram: Histogram, threshold: float) -> int:
    """Where in `_rates` the bucket stands that begins at a threshold."""
    below = int(np.searchsorted(histogram.edges, threshold, side="left"))
    return min(len(histogram.positives), max(0, len(histogram.positives) - below))


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
    """Sums of neighbouring buckets."""
    places = np.minimum(np.arange(len(values)) * count // len(values), count - 1)
    sums: Floats = np.bincount(places, weights=values, minlength=count).astype(np.float64)
    return sums
