"""Charts of the data: a feature's distribution in each span, and drift."""

from __future__ import annotations

from collections.abc import Sequence

from ordain.reports.charts.base import (
    BASELINE,
    CANDIDATE,
    EVAL,
    GRID,
    ORDER,
    SOFT,
    TRAIN,
    Chart,
    Rows,
    Spec,
    axis,
    layer,
    layered,
    line,
    steps,
)
from ordain.reports.facts.binning import OTHERS, binned, common_edges, common_values, valued
from ordain.reports.facts.data import Distribution, Feature
from ordain.reports.facts.formatting import number, plain

#: Panels side by side; for a longer window the newest spans.
MAX_PANELS = 12
_STRIP_WIDTH, _STRIP_HEIGHT, _MAX_PANEL_WIDTH = 900, 52, 180
_OVERLAY_WIDTH, _OVERLAY_HEIGHT = 228, 110
_GAP = 0.14
_LABEL_CHARS = 13


def strip(feature: Feature, spans: Sequence[int]) -> Chart | None:
    """Chart a panel per span: the train split filled, the eval split as an outline.

    Args:
        feature: The feature.
        spans: Spans of the window, oldest first.

    Returns:
        None if the feature has no value anywhere.
    """
    drawn = list(spans)[-MAX_PANELS:]
    chosen = [d for d in feature.distributions if d.span in drawn and d.present]
    edges = common_edges(chosen)
    values = [] if edges else common_values(chosen)
    if not (edges or values):
        return None
    filled: Rows = []
    outlined: Rows = []
    highest = 0.0
    for place, span in enumerate(drawn):
        for split, rows in (("train", filled), ("eval", outlined)):
            found = feature.of(span, split)
            if found is None or not found.present:
                continue
            shares = binned(found, edges) if edges else valued(found, values)
            highest = max([highest, *shares])
            corners = _corners(shares, place, has_gaps=not edges)
            rows += [{"x": x, "y": y, "p": place, "i": i} for i, (x, y) in enumerate(corners)]
    if edges:
        what = f"from {number(edges[0])} to {number(edges[-1])} in {len(edges) - 1} bins"
    else:
        names = ", ".join(plain(v, 20) for v in values)
        what = f"left to right: {names}" + (", all others" if _has_others(feature) else "")
    left_out = f"; the newest {len(drawn)} of {len(spans)} spans" if len(spans) > len(drawn) else ""
    caption = f"Share of values, 0 to {100 * highest:.0f} %, {what}{left_out}."
    return Chart(plain(feature.name, 60), caption, _strip_spec(filled, outlined, drawn, highest))


def _corners(shares: Sequence[float], place: int, has_gaps: bool) -> list[tuple[float, float]]:
    """Compute the outline of a histogram in a panel of width 1, `_GAP` of it empty."""
    width = (1 - _GAP) / len(shares)
    inset = width * 0.12 if has_gaps else 0.0
    corners: list[tuple[float, float]] = []
    for i, value in enumerate(shares):
        left, right = place + i * width + inset, place + (i + 1) * width - inset
        corners += [(left, 0.0)] if has_gaps or i == 0 else []
        corners += [(left, value), (right, value)]
        corners += [(right, 0.0)] if has_gaps or i == len(shares) - 1 else []
    return [(round(x, 4), round(y, 5)) for x, y in corners]


def _strip_spec(filled: Rows, outlined: Rows, spans: Sequence[int], highest: float) -> Spec:
    x = axis("x", None, domain=[0, len(spans)])
    y = axis("y", None, domain=[0, highest or 1])
    labels = [{"x": i + (1 - _GAP) / 2, "t": str(span)} for i, span in enumerate(spans)]
    floor = [{"x": i, "x2": i + 1 - _GAP} for i in range(len(spans))]
    zero: Spec = {"datum": 0, "axis": None}
    corners: Spec = {"x": x, "y": y, "detail": {"field": "p", "type": "nominal"}, "order": ORDER}
    layers = [
        layer({"type": "rule", "color": GRID}, floor, x=x, x2="x2", y=zero),
        # A filled line: an area mark would sort the corners by x.
        layer({"type": "line", "fill": TRAIN, "stroke": None}, filled, **corners),
        layer({"type": "line", "color": EVAL, "strokeWidth": 1}, outlined, **corners),
        layer({"type": "text", "dy": 11, "color": SOFT}, labels, x=x, y=zero, text="t"),
    ]
    return layered(layers, min(_STRIP_WIDTH, _MAX_PANEL_WIDTH * len(spans)), _STRIP_HEIGHT)


def overlay(
    title: str, before: Distribution, after: Distribution, names: tuple[str, str], caption: str
) -> Chart | None:
    """Chart two distributions of one feature over each other.

    Args:
        title: The feature.
        before: The older distribution.
        after: The newest distribution.
        names: Names of the two.
        caption: Their distance.

    Returns:
        None if either is empty.
    """
    both = [d for d in (before, after) if d.present]
    if len(both) < 2:
        return None
    edges = common_edges(both)
    values = [] if edges else common_values(both)
    if not (edges or values):
        return None
    shares = [binned(d, edges) if edges else valued(d, values) for d in both]
    if edges:
        spec = _curves(shares, edges)
    else:
        has_others = any(s[-1] > 0 for s in shares)
        labels = [_cut(v) for v in values] + ([OTHERS] if has_others else [])
        spec = _bars([s[: len(labels)] for s in shares], labels)
    keys = ((names[0], BASELINE, "line"), (names[1], CANDIDATE, "area"))
    return Chart(title, caption, spec, keys)


def _curves(shares: Sequence[Sequence[float]], edges: Sequence[float]) -> Spec:
    x = axis("x", "value", domain=[edges[0], edges[-1]], grid=False)
    y = axis("y", "share of values", format="%", zero=True)
    area = {"type": "area", "color": CANDIDATE, "opacity": 0.45, "interpolate": "step-after"}
    layers = [
        layer(area, steps(edges, shares[1]), x=x, y=y, order=ORDER),
        line(steps(edges, shares[0]), x, y, BASELINE, interpolate="step-after"),
    ]
    return layered(layers, _OVERLAY_WIDTH, _OVERLAY_HEIGHT)


def _bars(shares: Sequence[Sequence[float]], labels: Sequence[str]) -> Spec:
    # A number before the label distinguishes values that are cut to the same text.
    rows = [
        {"l": label, "k": i, "y0": a, "y1": b}
        for i, (label, a, b) in enumerate(zip(labels, *shares, strict=True))
    ]
    x: Spec = {"field": "k", "type": "ordinal", "axis": None}
    y: Spec = {"title": "share of values", "format": "%", "tickCount": 4}
    bar = {"type": "bar", "color": CANDIDATE, "opacity": 0.45}
    tick = {"type": "tick", "color": BASELINE, "thickness": 2.2, "width": 20}
    text = {"type": "text", "angle": 315, "align": "right", "baseline": "middle", "color": SOFT}
    layers = [
        layer(bar, x=x, y={"field": "y1", "type": "quantitative", "axis": y}),
        layer(tick, x=x, y={"field": "y0", "type": "quantitative"}),
        layer(text | {"dy": 8, "limit": 120}, x=x, y={"datum": 0}, text="l"),
    ]
    return layered(layers, _OVERLAY_WIDTH, _OVERLAY_HEIGHT, data={"values": rows})


def _has_others(feature: Feature) -> bool:
    return any((d.unique or 0) > 9 for d in feature.distributions)


def _cut(value: str) -> str:
    """Shorten a label to fit below a bar."""
    text = plain(value, 60)
    return text if len(text) <= _LABEL_CHARS else f"{text[: _LABEL_CHARS - 1]}…"
