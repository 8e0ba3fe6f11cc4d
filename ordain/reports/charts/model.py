"""Charts of a model: slices, feature importance, residuals."""

from __future__ import annotations

import numpy as np

from ordain.reports.charts.base import (
    BASELINE,
    CANDIDATE,
    DASHED,
    DOTTED,
    INK,
    LIMIT,
    SIDE,
    SOFT,
    Chart,
    Rows,
    axis,
    layer,
    layered,
    line,
    names,
    points,
    rule,
    steps,
    thinned,
)
from ordain.reports.facts.formatting import fixed, number, plain
from ordain.reports.facts.intervals import Floats
from ordain.reports.facts.model import Evaluation, Importance

#: Slices and features in a chart; tables list all.
MAX_BARS = 30


def slices(evaluation: Evaluation, metric: str, limits: dict[str, float]) -> Chart | None:
    """Chart one metric of every slice with its interval, baseline and limit, worst first.

    Args:
        evaluation: The evaluation.
        metric: The metric.
        limits: Limit by slice, where there is one.
    """
    from ordain.reports.facts.slices import ranked  # noqa: PLC0415  it takes the names from here

    rows: Rows = []
    every = [
        w for w in ranked(evaluation, metric) if evaluation.slices[w][metric].value is not None
    ]
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
    y = names("s")
    title = evaluation.titles.get(metric, metric)
    interval = {"type": "rule", "color": CANDIDATE, "strokeWidth": 2}
    before = {"type": "point", "color": BASELINE, "filled": False, "size": 46}
    value = {"type": "point", "color": CANDIDATE, "filled": True, "size": 46, "opacity": 1}
    limit = {"type": "tick", "color": LIMIT, "thickness": 2, "height": 14}
    layers = [
        layer(interval, x=axis("a", title), x2="b", y=y),
        layer(before, x=axis("o", title), y=y),
        layer(value, x=axis("v", title), y=y),
        layer(limit, x=axis("l", title), y=y),
    ]
    keys = (
        ("candidate, 95 % interval", CANDIDATE, "point"),
        *([("baseline", BASELINE, "ring")] if evaluation.has_baseline else []),
        *([("limit", LIMIT, "tick")] if limits else []),
    )
    spec = {"width": 480, "height": {"step": 20}, "data": {"values": rows}, "layer": layers}
    cut = f"; the worst {MAX_BARS} of {len(every)}" if len(every) > MAX_BARS else ""
    return Chart(f"{title} by slice", f"Worst first{cut}.", spec, keys)


def importance(found: Importance) -> Chart | None:
    """Chart the cost of shuffling each feature."""
    if not found.features:
        return None
    rows = [
        {"f": plain(name, 40), "v": mean, "a": mean - spread, "b": mean + spread}
        for name, mean, spread in found.features[:MAX_BARS]
    ]
    y = names("f")
    x = axis("v", f"loss of {found.measure} when shuffled", zero=True)
    low = axis("a", None)
    del low["axis"]  # that of the bars serves both
    bar = {"type": "bar", "color": CANDIDATE, "opacity": 0.55, "height": {"band": 0.65}}
    error = {"type": "rule", "color": INK, "strokeWidth": 1.2}
    layers = [layer(bar, x=x, y=y), layer(error, x=low, x2="b", y=y)]
    caption = (
        f"Mean over 3 shuffles and its standard deviation, on {found.rows:,} of "
        f"{found.of_rows:,} eval rows, where {found.measure} is {fixed(found.score)}. Features "
        "that carry the same information share their importance."
    )
    spec = {"width": 420, "height": {"step": 19}, "data": {"values": rows}, "layer": layers}
    return Chart("Permutation importance", caption, spec)


def residuals(labels: Floats, predictions: Floats) -> list[Chart]:
    """Chart predicted against actual values, and the distribution of errors."""
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
        layered([ideal, cloud], SIDE, SIDE),
    )
    errors = predictions - labels
    counts, edges = np.histogram(errors, bins=30)
    x = axis("x", "prediction − label", grid=False)
    y = axis("y", "share of rows", format="%", zero=True)
    step = line(steps(edges, counts / len(errors)), x, y, CANDIDATE, interpolate="step-after")
    mean = float(errors.mean())
    caption = f"{sample} Mean {number(mean)}, standard deviation {number(float(errors.std()))}."
    second = Chart(
        "Residuals", caption, layered([rule(0, "x", SOFT, strokeDash=DASHED), step], SIDE, SIDE)
    )
    return [first, second]
