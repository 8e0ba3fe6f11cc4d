"""Charts of a run: training, the Tuner's trials, server latency, time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ordain.history.runs import NodeRun
from ordain.reports.charts.base import (
    BASELINE,
    CANDIDATE,
    DASHED,
    GRID,
    SOFT,
    Chart,
    Rows,
    Spec,
    axis,
    layer,
    layered,
    line,
    names,
    points,
    rule,
    thinned,
)
from ordain.reports.facts.formatting import duration, fixed, number, plain
from ordain.reports.facts.server_latency import Latency
from ordain.reports.facts.training import Curve, Training, Trials

_WIDTH, _HEIGHT = 228, 150
_COLOURS = {
    "complete": CANDIDATE,
    "cached": "var(--passed)",
    "failed": "var(--blocked)",
    "running": "var(--warned)",
}


def curves(training: Training) -> list[Chart]:
    """Build a chart for each value, and one for the learning rate."""
    charts = [_curve(curve) for curve in training.curves if curve.train or curve.validation]
    if training.learning_rate:
        rows = _rows(training.learning_rate)
        rate = axis("y", "learning rate", zero=True, format="~g")
        layer = line(thinned(rows), axis("x", "step"), rate, SOFT)
        first, last = training.learning_rate[0][1], training.learning_rate[-1][1]
        caption = f"From {number(first, 3)} to {number(last, 3)}."
        charts.append(Chart("Learning rate", caption, layered([layer], _WIDTH, _HEIGHT)))
    return charts


def _curve(curve: Curve) -> Chart:
    x, y = axis("x", "step"), axis("y", curve.name)
    layers: list[Spec] = []
    said = []
    if curve.train:
        layers.append(line(thinned(_rows(curve.train)), x, y, CANDIDATE))
        said.append(f"at the end {fixed(curve.train[-1][1])} in training")
    if curve.validation:
        rows = _rows(curve.validation)
        if len(rows) > 1:
            layers.append(line(thinned(rows), x, y, BASELINE, strokeDash=DASHED))
        layers.append(points(thinned(rows), x, y, BASELINE, size=40))
        said.append(f"{fixed(curve.validation[-1][1])} on the validation data")
    keys = (
        *([("training", CANDIDATE, "line")] if curve.train else []),
        *([("validation, by epoch", BASELINE, "point")] if curve.validation else []),
    )
    caption = (
        f"By step; {', '.join(said)}. Keras reports training values as means of the epoch so far."
    )
    return Chart(plain(curve.name, 60), caption, layered(layers, _WIDTH, _HEIGHT), keys)


def _rows(series: Sequence[tuple[int, float]]) -> Rows:
    return [{"x": step, "y": value, "i": i} for i, (step, value) in enumerate(series)]


def trials(found: Trials) -> Chart:
    """Chart parallel coordinates: an axis per hyperparameter and one for the score."""
    columns = [*zip(*(values for _, _, values in found.rows), strict=True)]
    columns.append(tuple(score for _, score, _ in found.rows))
    rows: Rows = []
    ends: Rows = []
    for place, (name, column) in enumerate(zip([*found.names, "score"], columns, strict=True)):
        heights, labels = _heights(column)
        ends += [{"k": place, "y": height, "t": plain(text, 18)} for height, text in labels]
        ends.append({"k": place, "y": 1.14, "t": plain(name, 24)})
        rows += [
            {"k": place, "y": height, "t": i, "best": i == 0}
            for i, height in enumerate(heights)
            if height is not None
        ]
    x: Spec = {"field": "k", "type": "ordinal", "axis": None}
    y = axis("y", None, domain=[0, 1.14])
    poles: Rows = [{"k": k, "y": 0, "z": 1} for k in range(len(columns))]
    layers = [layer({"type": "rule", "color": GRID}, poles, x=x, y=y, y2="z")]
    trial: Spec = {"field": "t", "type": "nominal"}
    for is_best, colour, width in ((False, SOFT, 1), (True, CANDIDATE, 2.4)):
        some = [row for row in rows if row["best"] is is_best]
        mark = {"type": "line", "color": colour, "strokeWidth": width}
        layers.append(layer(mark, some, x=x, y=y, detail=trial))
    label = {"type": "text", "dx": 6, "align": "left", "limit": 110}
    layers.append(layer(label, ends, x=x, y=y, text="t"))
    spec = {"width": {"step": 130}, "height": 200, "layer": layers}
    keys = (("the best trial", CANDIDATE, "line"), ("the others", SOFT, "line"))
    return Chart(
        "The Tuner's trials",
        "One line a trial, each axis from its lowest to its highest value.",
        spec,
        keys,
    )


def _heights(column: Sequence[Any]) -> tuple[list[float | None], list[tuple[float, str]]]:
    """Scale a column's values to 0 to 1, with labels for its axis."""
    known = [v for v in column if v is not None]
    is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)
    if is_number and known:
        low, high = min(known), max(known)
        width = (high - low) or 1
        heights = [None if v is None else (v - low) / width for v in column]
        labels = [(0.0, number(low))] + ([(1.0, number(high))] if high > low else [])
        return heights, labels
    values = sorted({str(v) for v in known})
    places = {v: i / max(1, len(values) - 1) for i, v in enumerate(values)}
    return [None if v is None else places[str(v)] for v in column], [
        (height, value) for value, height in places.items()
    ]


def latency(found: Sequence[Latency], limit_ms: float | None) -> Chart | None:
    """Chart the share of requests answered within a time, by protocol."""
    layers: list[Spec] = []
    keys = []
    highest = max((max(item.times_ms) for item in found if item.times_ms), default=0.0)
    lowest = min((min(item.times_ms) for item in found if item.times_ms), default=0.0)
    if highest <= 0:
        return None
    x = axis("x", "milliseconds (logarithmic)", scale="log")
    y = axis("y", "share of requests", domain=[0, 1], format="%")
    styles = ((CANDIDATE, [1, 0], "line"), (BASELINE, DASHED, "dashed"))
    for item, (colour, dash, kind) in zip(found, styles, strict=False):
        ranked = sorted(item.times_ms)
        rows = [{"x": time, "y": (i + 1) / len(ranked), "i": i} for i, time in enumerate(ranked)]
        layers.append(line(thinned(rows), x, y, colour, interpolate="step-after", strokeDash=dash))
        keys.append((item.protocol, colour, kind))
    said = ""
    if limit_ms is not None and lowest * 0.5 <= limit_ms <= highest * 20:
        layers.append(rule(limit_ms, "x"))
        said = f" Red: the limit on p99, {number(limit_ms)} ms."
    caption = (
        f"Requests of one row, each asked three times, cumulated over the time of the answer.{said}"
    )
    return Chart("Latency", caption, layered(layers, 420, 190), tuple(keys))


def gantt(executions: Sequence[NodeRun]) -> Chart | None:
    """Chart the executions over time, a line per node."""
    if not executions:
        return None
    zero = min(run.started_ms for run in executions)
    end = max((run.finished_ms - zero) / 1000 for run in executions)
    rows: Rows = []
    total: dict[str, float] = {}
    last: dict[str, float] = {}
    for run in executions:
        start = (run.started_ms - zero) / 1000
        seconds = max(run.seconds, 0.0)
        # A bar of a tenth of a second would be invisible.
        shown = start + max(seconds, end / 400)
        rows.append({"n": run.node, "a": start, "b": shown, "c": _COLOURS.get(run.state, SOFT)})
        total[run.node] = total.get(run.node, 0.0) + seconds
        last[run.node] = start + seconds
    labels = [{"n": n, "b": last[n], "t": duration(s)} for n, s in total.items()]
    y = names("n")
    x = axis("a", "seconds since the run began", domain=[0, math.ceil(end * 1.08)])
    colour: Spec = {"field": "c", "type": "nominal", "scale": None}
    after: Spec = {"field": "b", "type": "quantitative"}
    text = {"type": "text", "align": "left", "dx": 5, "color": SOFT}
    layers = [
        layer({"type": "bar", "height": {"band": 0.6}}, rows, x=x, x2="b", y=y, color=colour),
        layer(text, labels, x=after, y=y, text="t"),
    ]
    spec = {"width": 640, "height": {"step": 22}, "layer": layers}
    states = {run.state for run in executions}
    keys = tuple((state, colour, "area") for state, colour in _COLOURS.items() if state in states)
    caption = "A bar for each execution; the number is the node's time over all its spans."
    return Chart("Time by node", caption, spec, keys)
