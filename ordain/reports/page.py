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
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ordain.common.atomic_files import write_atomic
from ordain.common.node_id import NodeId
from ordain.config.project import Project
from ordain.reports import sections
from ordain.reports.charts.base import Chart
from ordain.reports.charts.renderer import Figure, draw_all
from ordain.reports.charts.svg_cache import SvgCache
from ordain.reports.facts.model import read_evaluation
from ordain.reports.facts.run_record import Record, read_record
from ordain.reports.templating import TEMPLATES, environment

#: File name in a run's folder.
REPORT_FILE = "report.html"

_LOG = logging.getLogger(__name__)


class Figures:
    """The charts of a page, drawn together."""

    def __init__(self) -> None:
        """Create it without charts."""
        self._all: list[Figure] = []

    def add(self, chart: Chart | None) -> Figure | None:
        """Add a chart; None stays None."""
        if chart is None:
            return None
        self._all.append(Figure(chart))
        return self._all[-1]

    def draw(self, cache: SvgCache | None) -> None:
        """Draw all added charts."""
        drawn = draw_all([figure.chart for figure in self._all], cache)
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
    path = record.folder / REPORT_FILE
    write_atomic(path, html.encode("utf-8", "replace").decode())
    return path


def render(record: Record) -> str:
    """Render the report of a run as HTML."""
    figures = Figures()
    evaluation = _section(lambda: read_evaluation(record), record.why_missing(NodeId.EVALUATOR))
    makers: dict[str, tuple[Callable[..., Any], str]] = {
        "data": (sections.data, record.why_missing(NodeId.STATISTICS_GEN)),
        "training": (sections.training, record.why_missing(NodeId.TRAINER)),
        "tuning": (sections.tuning, ""),
        "model": (partial(sections.model, found=evaluation.content), evaluation.missing),
        "server": (sections.server, record.why_missing(NodeId.SERVER_GATE)),
        "time": (sections.time, "nothing ran"),
        "lineage": (sections.lineage, "nothing ran"),
    }
    made = {
        name: _section(partial(make, record, figures.add), why_missing)
        for name, (make, why_missing) in makers.items()
    }
    figures.draw(SvgCache(record.project.home))
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


def _section(make: Callable[[], Any], why_empty: str) -> Section:
    try:
        content = make()
    except Exception as error:
        # A report without one section is better than none; the section shows the error.
        _LOG.warning("a section of the report could not be made", exc_info=True)
        return Section(None, f"this section could not be made: {type(error).__name__}: {error}")
    return Section(content, "" if content is not None else why_empty)
