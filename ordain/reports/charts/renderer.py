"""Drawing of charts as SVG, in a child process.

vl-convert runs Vega in a JavaScript engine of 150 MB. A crash there must not end the process of the
pipeline: the page shows the error in the chart's place.

Run as `python -m ordain.reports.charts.renderer`: a list of specifications on standard input, a
list of `{"svg": ...}` or `{"error": ...}` on standard output.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from markupsafe import Markup, escape

from ordain.common.package import ROOT
from ordain.reports.charts.base import Chart

#: Time limit in seconds for all charts of one process.
TIME_LIMIT_S = 120
#: Number of charts from which two processes are faster than one.
MANY = 16
_ROLES = re.compile(r' (role|aria-[a-z]+)="[^"]*"')
_EMPTY = re.compile(r'<path class="(?:background|foreground)"[^>]*?display="none"/>')
_GEOMETRY = re.compile(r' (?:d|transform|x2|y2)="[^"]*"')
_LONG_NUMBER = re.compile(r"(\d+\.\d{2})\d+")


class Cache(Protocol):
    """SVGs by the specification that they were drawn from."""

    def find(self, spec: Any) -> str | None:
        """Find the SVG of a specification."""

    def keep(self, drawn: list[tuple[Any, str]]) -> None:
        """Store SVGs."""


@dataclass
class Figure:
    """A chart and its SVG, as the templates show it."""

    chart: Chart
    svg: Markup = Markup("")  # noqa: RUF009  a string


def draw_all(charts: Sequence[Chart], kept: Cache | None = None) -> list[Markup]:
    """Draw charts.

    Args:
        charts: The charts.
        kept: Cache of SVGs; None to draw all charts.

    Returns:
        For each the SVG element, or a paragraph with the error.
    """
    specs = [chart.full_spec for chart in charts]
    found = [kept.find(spec) if kept is not None else None for spec in specs]
    missing = [spec for spec, svg in zip(specs, found, strict=True) if svg is None]
    drawn = _draw_in_processes(missing)
    if kept is not None and missing:
        pairs = zip(missing, drawn, strict=True)
        kept.keep([(spec, answer["svg"]) for spec, answer in pairs if "svg" in answer])
    new = iter(drawn)
    answers = [{"svg": svg} if svg is not None else next(new) for svg in found]
    return [_markup(chart, answer) for chart, answer in zip(charts, answers, strict=True)]


def _draw_in_processes(specs: list[Any]) -> list[dict[str, str]]:
    if not specs:
        return []
    half = (len(specs) + 1) // 2 if len(specs) >= MANY and (os.cpu_count() or 1) > 1 else len(specs)
    parts = [part for part in (specs[:half], specs[half:]) if part]
    with ThreadPoolExecutor(len(parts)) as pool:
        return [answer for part in pool.map(_draw, parts) for answer in part]


def _draw(specs: list[Any]) -> list[dict[str, str]]:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "ordain.reports.charts.renderer"],
            input=json.dumps(specs).encode(),
            capture_output=True,
            timeout=TIME_LIMIT_S,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        answers = json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()[-1:] or [str(error)]
        return [{"error": said[0]}] * len(specs)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return [{"error": str(error)}] * len(specs)
    return answers if len(answers) == len(specs) else [{"error": "charts are missing"}] * len(specs)


def _markup(chart: Chart, answer: dict[str, str]) -> Markup:
    svg = answer.get("svg")
    if svg is None:
        reason = answer.get("error", "unknown")
        return Markup('<p class="missing">This chart could not be drawn: {}</p>').format(reason)
    svg = _ROLES.sub("", svg)
    svg = _EMPTY.sub("", svg)
    # Hundredths of a pixel suffice; numbers in texts stay unchanged.
    svg = _GEOMETRY.sub(lambda match: _LONG_NUMBER.sub(r"\1", match.group()), svg)
    label = escape(f"{chart.title}. {chart.caption}")
    # A function: in a replacement text `re` would interpret parts of the caption as groups.
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))  # noqa: S704


def _draw_here(specs: list[Any]) -> list[dict[str, str]]:
    import vl_convert  # noqa: PLC0415  88 MB that only this process loads

    answers = []
    for spec in specs:
        try:
            answers.append({"svg": vl_convert.vegalite_to_svg(spec)})
        except ValueError as error:
            answers.append({"error": " ".join(str(error).split())[:300]})
    return answers


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_draw_here(json.load(sys.stdin))))
