"""The chart type, and style and layers that all charts share.

A chart is a Vega-Lite specification with title and caption. Colours are CSS variables of the page's
style sheet, so that one SVG fits light, dark and print. Data is used as values only, never as field
names or expressions, so that it cannot become code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

INK, SOFT, GRID = "var(--ink)", "var(--ink-soft)", "var(--grid)"
CANDIDATE, BASELINE = "var(--candidate)", "var(--baseline)"
TRAIN, EVAL = "var(--train)", "var(--eval)"
LIMIT = "var(--blocked)"
#: Width and height of a square chart, in pixels.
SIDE = 290
#: Dashes, so that colour is not the only difference.
DASHED, DOTTED = [5, 3], [1, 3]

Spec = dict[str, Any]
Rows = list[dict[str, Any]]
#: Channel of the rows' order: Vega would sort a line by x.
ORDER: Spec = {"field": "i", "type": "quantitative"}

_CONFIG: Spec = {
    # The figure has a label; with Vega's own roles screen readers would read every mark.
    "aria": False,
    "background": None,
    # Vega measures labels in this font; the page uses one of the same widths.
    "font": "Arial",
    "padding": {"left": 6, "right": 12, "top": 6, "bottom": 4},
    "view": {"stroke": None},
    "axis": {
        "domainColor": GRID,
        "gridColor": GRID,
        "tickColor": GRID,
        "labelColor": SOFT,
        "titleColor": SOFT,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "labelLimit": 260,
    },
    "text": {"color": INK, "fontSize": 11, "limit": 150},
    "legend": {"disable": True},
}


@dataclass(frozen=True)
class Chart:
    """A chart to draw.

    Attributes:
        title: Title, a few words.
        caption: How to read it: axes, units, computation.
        spec: Vega-Lite specification without a `config`.
        keys: Legend: a label, a CSS colour, and `line`, `dashed`, `area` or `point`.
    """

    title: str
    caption: str
    spec: Spec
    keys: tuple[tuple[str, str, str], ...] = ()

    @property
    def full_spec(self) -> Spec:
        """The complete specification."""
        return {**self.spec, "config": _CONFIG, "autosize": {"type": "pad"}}


def axis(field: str, title: str | None, **more: Any) -> Spec:
    """Build a quantitative channel.

    Args:
        field: Name of the value in the rows.
        title: The axis' title with its unit; None for no axis.
        more: `domain`, `scale`, `zero`, `nice`, `format`, `values` or `grid`.
    """
    scale: Spec = {"zero": more.get("zero", False), "nice": more.get("nice", True)}
    if "domain" in more:
        scale |= {"domain": more["domain"], "nice": False}
    if "scale" in more:
        scale = {"type": more["scale"]}
    channel: Spec = {"field": field, "type": "quantitative", "scale": scale}
    if title is None:
        return channel | {"axis": None}
    shown: Spec = {"title": title, "grid": more.get("grid", True), "tickCount": 5}
    for key in ("format", "values"):
        if key in more:
            shown[key] = more[key]
    if "values" in more:
        shown["labelOverlap"] = False
    return channel | {"axis": shown}


def names(field: str) -> Spec:
    """Build a channel of names, in the order of the rows."""
    return {"field": field, "type": "nominal", "sort": None, "axis": {"title": None}}


def layer(mark: Spec, rows: Rows | None = None, **channels: Spec | str) -> Spec:
    """Build a layer.

    Args:
        mark: The mark.
        rows: Its data; None for that of the chart.
        channels: A channel, or the name of its field.
    """
    encoding = {k: {"field": v} if isinstance(v, str) else v for k, v in channels.items()}
    data = {} if rows is None else {"data": {"values": rows}}
    return {**data, "mark": mark, "encoding": encoding}


def line(rows: Rows, x: Spec, y: Spec, colour: str, **mark: Any) -> Spec:
    """Build a layer: a line through the rows in order."""
    style = {"type": "line", "color": colour, "strokeWidth": 1.8, **mark}
    return layer(style, rows, x=x, y=y, order=ORDER)


def points(rows: Rows, x: Spec, y: Spec, colour: str, **mark: Any) -> Spec:
    """Build a layer of points."""
    style = {"type": "point", "color": colour, "filled": True, "size": 45, "opacity": 1, **mark}
    return layer(style, rows, x=x, y=y)


def rule(value: float, channel: str, colour: str = LIMIT, **mark: Any) -> Spec:
    """Build a layer: a straight line at a value of `x` or `y`."""
    style = {"type": "rule", "color": colour, "strokeWidth": 1.2, "strokeDash": DASHED, **mark}
    return layer(style, [{"v": value}], **{channel: {"field": "v", "type": "quantitative"}})


def steps(edges: Iterable[float], heights: Iterable[float]) -> Rows:
    """Build the rows of a histogram, for a line or an area that steps after each point.

    Args:
        edges: Edges of the bins, `[bins + 1]`.
        heights: Height of each bin, `[bins]`.
    """
    shown = list(heights)
    pairs = zip(edges, [*shown, shown[-1]], strict=True)
    return [{"x": float(x), "y": float(y), "i": i} for i, (x, y) in enumerate(pairs)]


def diagonal(x: Spec, y: Spec) -> Spec:
    """Build a layer: the line from (0, 0) to (1, 1)."""
    rows = [{"x": 0, "y": 0, "i": 0}, {"x": 1, "y": 1, "i": 1}]
    return line(rows, x, y, SOFT, strokeWidth=1, strokeDash=DOTTED)


def layered(layers: list[Spec], width: int, height: int, **more: Any) -> Spec:
    """Put layers over each other on the same axes."""
    return {"width": width, "height": height, "layer": layers, **more}


def thinned(rows: Rows, most: int = 300) -> Rows:
    """Select at most `most` rows, evenly spaced, including the last."""
    if len(rows) <= most:
        return rows
    step = (len(rows) - 1) / (most - 1)
    return [rows[round(i * step)] for i in range(most)]
