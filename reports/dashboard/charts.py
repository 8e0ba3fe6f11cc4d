"""The charts of the pages, drawn once: lines over time for metrics, over spans for drift."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from contracts.verdict import Outcome
from reports.charts import (
    BASELINE,
    CANDIDATE,
    DASHED,
    LIMIT,
    Chart,
    Rows,
    Spec,
    axis,
    layered,
    line,
    points,
    thinned,
)
from reports.dashboard.trends import Series
from reports.drawing import draw_all
from reports.text import plain

#: Drawings that are kept: a page with its charts is a few, and a project has few pages.
KEPT = 400
#: Charts of features on one page; the table below them has all.
MAX_CHARTS = 12


@dataclass(frozen=True)
class Drawn:
    """A chart with its drawing, as the reports' templates take it."""

    chart: Chart
    svg: Markup


class Drawings:
    """Draws charts, and keeps what was drawn for as long as the data stays."""

    def __init__(self) -> None:
        """Begins with none."""
        self._kept: OrderedDict[str, Drawn] = OrderedDict()
        self._lock = threading.Lock()

    def draw(self, charts: Sequence[Chart]) -> list[Drawn]:
        """The charts with their drawings."""
        with self._lock:
            keys = [json.dumps([c.title, c.caption, c.keys, c.spec]) for c in charts]
            new = {key: c for key, c in zip(keys, charts, strict=True) if key not in self._kept}
            for (key, chart), svg in zip(new.items(), draw_all(list(new.values())), strict=True):
                self._kept[key] = Drawn(chart, svg)
            drawn = [self._kept[key] for key in keys]
            for key in keys:
                self._kept.move_to_end(key)
            while len(self._kept) > max(KEPT, len(keys)):
                self._kept.popitem(last=False)
            return drawn


def metric_chart(series: Series) -> Chart:
    """A metric of the blessed models over time."""
    x: Spec = {"field": "t", "type": "temporal", "scale": {"type": "utc"}}
    x |= {"axis": {"title": "trained (UTC)", "grid": False, "tickCount": 5, "labelOverlap": True}}
    y = axis("v", series.name, format=".3~f")
    rows: Rows = [
        {"i": i, "t": f"{p.at:%Y-%m-%dT%H:%M:%SZ}", "v": p.value, "b": p.baseline, "l": p.limit}
        for i, p in enumerate(series.points)
    ]
    rows = thinned(rows)
    layers, keys = [], [("blessed models", CANDIDATE, "line")]
    limits = [{**row, "v": row["l"]} for row in rows if row["l"] is not None]
    if limits:
        side = "at least" if series.bound == "min" else "at most"
        layers += _limit(limits, x, y)
        keys.append((f"limit ({side})", LIMIT, "dashed"))
    before = [{**row, "v": row["b"]} for row in rows if row["b"] is not None]
    if before:
        layers.append(points(before, x, y, BASELINE, filled=False, size=60))
        keys.append(("its baseline then", BASELINE, "ring"))
    layers += [line(rows, x, y, CANDIDATE), points(rows, x, y, CANDIDATE)]
    spans = [p.span for p in series.points if p.span is not None]
    about = f", spans {spans[0]} to {spans[-1]}" if len(set(spans)) > 1 else ""
    count = len(series.points)
    caption = f"{count} blessed model{'s' if count != 1 else ''}{about}; {series.what}."
    return Chart(
        f"{plain(series.name, 60)}, {series.what}", caption, layered(layers, 520, 190), tuple(keys)
    )


def drift_chart(series: Series) -> Chart:
    """A feature's distance from span to span."""
    rows: Rows = [
        {"i": i, "s": str(p.span), "v": p.value, "l": p.limit, "over": _is_over(p.outcome)}
        for i, p in enumerate(series.points[-60:])
    ]
    x: Spec = {"field": "s", "type": "ordinal", "sort": None}
    x |= {"axis": {"title": "span", "labelAngle": 0, "labelOverlap": True, "grid": False}}
    y = axis("v", "distance", zero=True, format=".2~f")
    layers = []
    limits = [{**row, "v": row["l"]} for row in rows if row["l"] is not None]
    keys = [("distance", CANDIDATE, "line")]
    if limits:
        layers += _limit(limits, x, y)
        keys.append(("limit", LIMIT, "dashed"))
    layers += [line(rows, x, y, CANDIDATE), points(rows, x, y, CANDIDATE)]
    over = [row for row in rows if row["over"]]
    if over:
        layers.append(points(over, x, y, LIMIT, size=90))
        keys.append(("above it", LIMIT, "point"))
    last = series.points[-1]
    limit = "" if last.limit is None else f", may be at most {last.limit:g}"
    caption = f"Span {last.span}, {series.what}: {last.value:.3f}{limit}."
    return Chart(plain(series.name, 60), caption, layered(layers, 250, 120), tuple(keys))


def _limit(rows: Rows, x: Spec, y: Spec) -> list[Spec]:
    """The limit as it was at each point; a single one as a tick."""
    if len(rows) > 1:
        return [line(rows, x, y, LIMIT, strokeWidth=1.2, strokeDash=DASHED)]
    return [points(rows, x, y, LIMIT, shape="stroke", size=200, filled=False)]


def _is_over(outcome: Outcome) -> bool:
    return outcome is not Outcome.PASSED
