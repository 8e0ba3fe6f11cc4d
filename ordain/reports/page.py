"""A run's report: builds the sections, draws their charts, renders the template.

A section that fails shows its error and does not affect the others. The page is one file with
inline style and script; its content security policy forbids fetching anything.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jinja2
from markupsafe import Markup

from ordain.common.node_id import NodeId
from ordain.config.project import Project
from ordain.reports import sections
from ordain.reports.charts.base import Chart
from ordain.reports.charts.renderer import draw_all
from ordain.reports.charts.svg_cache import SvgCache
from ordain.reports.facts import formatting
from ordain.reports.facts.run_record import Record, read_record

#: File name in a run's folder.
REPORT_FILE = "report.html"
TEMPLATES = Path(__file__).parent / "templates"

_LOG = logging.getLogger(__name__)
Made = TypeVar("Made")


@dataclass
class Figure:
    """A chart and its SVG, which is set when all charts of the page are drawn."""

    chart: Chart
    svg: Markup = Markup("")  # noqa: RUF009  a string


class Figures:
    """The charts of a page, drawn together."""

    def __init__(self, kept: SvgCache | None = None) -> None:
        """Create it with the cache of SVGs, or None."""
        self._kept = kept
        self._all: list[Figure] = []

    def add(self, chart: Chart | None) -> Figure | None:
        """Add a chart; None stays None."""
        if chart is None:
            return None
        figure = Figure(chart)
        self._all.append(figure)
        return figure

    def draw(self) -> None:
        """Draw all added charts."""
        drawn = draw_all([figure.chart for figure in self._all], self._kept)
        for figure, svg in zip(self._all, drawn, strict=True):
            figure.svg = svg


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        content: Variables of its template; None if there is nothing to show.
        missing: Reason for nothing to show.
    """

    content: Any
    missing: str = ""


def write_report(project: Project, run_id: str) -> Path:
    """Write the report of a run into its folder.

    Args:
        project: The project.
        run_id: One of its runs.

    Returns:
        The page's path.

    Raises:
        InfrastructureError: The run does not exist.
        OSError: The page cannot be written.
    """
    record = read_record(project, run_id)
    html = render(record)
    record.folder.mkdir(parents=True, exist_ok=True)
    staged = record.folder / f".{REPORT_FILE}"
    staged.write_text(html, encoding="utf-8", errors="replace")
    path = record.folder / REPORT_FILE
    staged.replace(path)
    return path


def render(record: Record) -> str:
    """Render the report of a run as HTML."""
    figures = Figures(SvgCache(record.project.home))
    evaluation = _section(sections.evaluation, record, record.why_missing(NodeId.EVALUATOR))
    made = {
        "data": _section(
            lambda r: sections.data(r, figures.add),
            record,
            record.why_missing(NodeId.STATISTICS_GEN),
        ),
        "training": _section(
            lambda r: sections.training(r, figures.add), record, record.why_missing(NodeId.TRAINER)
        ),
        "tuning": _section(lambda r: sections.tuning(r, figures.add), record, ""),
        "model": Section(None, evaluation.missing)
        if evaluation.content is None
        else _section(lambda r: sections.model(r, evaluation.content, figures.add), record, ""),
        "server": _section(
            lambda r: sections.server(r, figures.add),
            record,
            record.why_missing(NodeId.SERVER_GATE),
        ),
        "time": _section(lambda r: sections.time(r, figures.add), record, "nothing ran"),
        "lineage": _section(sections.lineage, record, "nothing ran"),
    }
    figures.draw()
    script = (TEMPLATES / "script.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        environment()
        .get_template("report.html")
        .render(
            record=record,
            head=sections.verdict(record, evaluation.content),
            sections=made,
            style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),  # noqa: S704
            script=Markup(script),  # noqa: S704  ours
            script_hash=digest,
        )
    )


def environment() -> jinja2.Environment:
    """Build the template environment, with automatic escaping."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("plain", "number", "fixed", "share", "size", "duration", "moment"):
        found.filters[name] = getattr(formatting, name)
    return found


def _section(make: Callable[[Record], Any], record: Record, why_empty: str) -> Section:
    try:
        content = make(record)
    except Exception as error:
        # A report without one section is better than none; the section shows the error.
        _LOG.warning("a section of the report could not be made", exc_info=True)
        return Section(None, f"this section could not be made: {type(error).__name__}: {error}")
    return Section(content, "" if content is not None else why_empty)
