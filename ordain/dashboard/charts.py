"""Charts of the pages: metrics over time and over spans, drift over spans."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence

from ordain.dashboard.trends import Point, Series
from ordain.reports.charts.base import (
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
from ordain.reports.charts.renderer import Figure, draw_all
from ordain.reports.facts.formatting import plain
from ordain.verdict import Outcome

#: Charts in the cache; a page has a few, and a project has few pages.
KEPT = 400
#: Feature charts on one page; the table below them lists all features.
MAX_CHARTS = 12


class ChartCache:
    """Draws charts, with an in-memory cache; the dashboard writes nothing to the workspace."""

    def __init__(self) -> None:
        """Start with an empty cache."""
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def draw(self, charts: Sequence[Chart]) -> list[Figure]:
        """Draw charts that are not in the cache; return all in order."""
        with self._lock:
            drawn = draw_all(charts, self)
        return [Figure(chart, svg) for chart, svg in zip(charts, drawn, strict=True)]

    def find(self, spec: Spec) -> str | None:
        """Find the SVG of a specification."""
        key = json.dumps(spec)
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, drawn: list[tuple[Spec, str]]) -> None:
        """Store SVGs in place of those that were used the longest time ago."""
        self._kept |= {json.dumps(spec): svg for spec, svg in drawn}
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)


def metric_charts(series: Series) -> list[Chart]:
    """Chart a metric of the blessed models over time, and over the newest span of each."""
    first, last = series.points[0].at, series.points[-1].at
    days = (last - first).days
    form = "%b %Y" if days > 400 else "%d %b" if days > 2 else "%H:%M"
    when: Spec = {"field": "t", "type": "temporal", "scale": {"type": "utc"}}
    when |= {"axis": {"title": "trained (UTC)", "format": form, "grid": False, "tickCount": 4}}
    title, count = plain(series.name, 60), len(series.points)
    caption = (
        f"{count} blessed model{'s' if count != 1 else ''}, each on the eval rows of its own run; "
        f"{series.what}."
    )
    layers, keys = _metric_layers(series, series.points, when)
    charts = [Chart(f"{title} over time", caption, layered(layers, 400, 180), keys)]
    # Of several models with the same newest span, the newest counts.
    newest = {point.span: point for point in series.points if point.span is not None}
    if len(newest) > 1:
        ordered = [newest[span] for span in sorted(newest)][-60:]
        layers, keys = _metric_layers(series, ordered, _by_span("newest span"))
        caption = f"The newest blessed model of each span; {series.what}."
        charts.append(Chart(f"{title} over spans", caption, layered(layers, 400, 180), keys))
    return charts


def _metric_layers(
    series: Series, chosen: Sequence[Point], x: Spec
) -> tuple[list[Spec], tuple[tuple[str, str, str], ...]]:
    y = axis("v", series.name[:40], format=".3~f")
    rows: Rows = thinned(
        [
            {
                "i": i,
                "t": f"{p.at:%Y-%m-%dT%H:%M:%SZ}",
                "s": str(p.span),
                "v": p.value,
                "b": p.baseline,
                "l": p.limit,
            }
            for i, p in enumerate(chosen)
        ]
    )
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
    return layers, tuple(keys)


def drift_chart(series: Series) -> Chart:
    """Chart a feature's drift distance from span to span."""
    rows: Rows = [
        {"i": i, "s": str(p.span), "v": p.value, "l": p.limit, "over": _is_over(p.outcome)}
        for i, p in enumerate(series.points[-60:])
    ]
    x = _by_span("span")
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
    limit = "" if last.limit is None else f", limit {last.limit:g}"
    caption = f"Span {last.span}, {series.what}: {last.value:.3f}{limit}."
    return Chart(plain(series.name, 60), caption, layered(layers, 250, 120), tuple(keys))


def _by_span(title: str) -> Spec:
    """Build an axis of spans in order."""
    shown: Spec = {"title": title, "labelAngle": 0, "labelOverlap": True, "grid": False}
    return {"field": "s", "type": "ordinal", "sort": None, "axis": shown}


def _limit(rows: Rows, x: Spec, y: Spec) -> list[Spec]:
    """Draw the limit at each point; a single one as a tick."""
    if len(rows) > 1:
        return [line(rows, x, y, LIMIT, strokeWidth=1.2, strokeDash=DASHED)]
    return [points(rows, x, y, LIMIT, shape="stroke", size=200, filled=False)]


def _is_over(outcome: Outcome) -> bool:
    return outcome is not Outcome.PASSED
