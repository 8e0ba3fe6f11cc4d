"""Past runs and their reports."""

from __future__ import annotations

import datetime
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from ordain.common.html_tables import html_table
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.history.diff import read_facts
from ordain.history.runs import History
from ordain.reports.page import write_report
from ordain.verdict import Verdict

#: Height of a report in a notebook, in pixels.
_REPORT_HEIGHT = 800


@dataclass(frozen=True)
class PastRun:
    """A run that ended, was killed, or goes on.

    Attributes:
        id: The run's id.
        started: When it began, in UTC.
        headline: Its result in one line.
        exit_code: As of the command line; None if it has not ended, or its folder was removed.
        window: Numbers of its spans.
        seconds: Wall time; None if it has not ended.
        version: Serving version that holds its model, or None.
        verdicts: One for each gate that ran.
        folder: Its folder, with `result.json`, `pipeline.yaml`, the logs and the report.
    """

    id: str
    started: datetime.datetime
    headline: str
    folder: Path
    exit_code: int | None = None
    window: tuple[int, ...] = ()
    seconds: float | None = None
    version: int | None = None
    verdicts: tuple[Verdict, ...] = ()
    project: Project = field(repr=False, kw_only=True)

    @property
    def metrics(self) -> Mapping[tuple[str, str], float | str]:
        """Value by slice (empty for all rows) and metric; the reason where it is undefined."""
        return read_facts(self.project, _history(self.project), self.id).metrics

    def to_dict(self) -> dict[str, Any]:
        """The row of `ordain runs list --json`."""
        return {
            "run": self.id,
            "started": self.started.astimezone().isoformat(sep=" ", timespec="seconds"),
            "headline": self.headline,
            "exit_code": self.exit_code,
            "version": self.version,
            "window": list(self.window),
            "seconds": self.seconds,
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
        }

    def _repr_html_(self) -> str:
        return Runs([self])._repr_html_()


class Runs(Sequence[PastRun]):
    """Past runs, newest first."""

    def __init__(self, found: Sequence[PastRun]) -> None:
        self._found = tuple(found)

    @overload
    def __getitem__(self, index: int) -> PastRun: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> PastRun | Runs:
        """A run by its place, or a part of them."""
        found = self._found[index]
        return found if isinstance(found, PastRun) else Runs(found)

    def __len__(self) -> int:
        """The number of runs."""
        return len(self._found)

    def __repr__(self) -> str:
        """A line for each run."""
        return "\n".join(f"{one.id}  {one.headline}" for one in self) or "no runs"

    def _repr_html_(self) -> str:
        rows = [
            {
                "run": one.id,
                "started": f"{one.started:%Y-%m-%d %H:%M} UTC",
                "result": one.headline,
                "version": one.version,
                "seconds": one.seconds,
            }
            for one in self
        ]
        return html_table(rows)


def runs(project: Project, limit: int | None = None) -> Runs:
    """Lists past runs, newest first.

    Args:
        project: The project.
        limit: At most this many; None for all.

    Raises:
        InfrastructureError: The metadata store cannot be opened.
    """
    if not project.metadata.exists():
        return Runs([])
    return Runs([_read(project, one) for one in _history(project).list_runs()[:limit]])


@dataclass(frozen=True)
class Report:
    """The report of a run: one HTML file without scripts or outside references."""

    path: Path

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        style = f"width:100%;height:{_REPORT_HEIGHT}px;border:1px solid #ccc"
        return f'<iframe srcdoc="{page}" style="{style}" sandbox></iframe>'


def report(project: Project, run_id: str | None = None) -> Report:
    """Writes the report of a run and returns it; a notebook shows it inline.

    Args:
        project: The project.
        run_id: The run; None for the newest.

    Raises:
        ConfigError: The project has not run yet.
        InfrastructureError: There is no such run.
    """
    if run_id is None:
        newest = runs(project, 1)
        if not newest:
            raise ConfigError(f"{project.name} has not run yet", "ordain.run(project)")
        run_id = newest[0].id
    return Report(write_report(project, run_id))


def _history(project: Project) -> History:
    return History(project.metadata, project.name, project.paths)


def _read(project: Project, run: Any) -> PastRun:
    """A run with its result from the run's folder; without `result.json` it never ended."""
    started = datetime.datetime.fromtimestamp(run.started_ms / 1000, datetime.UTC)
    folder = project.runs / run.id
    if not folder.is_dir():
        gone = "its folder was removed (ordain gc)"
        return PastRun(run.id, started, gone, folder, project=project)
    try:
        raw = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return PastRun(run.id, started, "did not end (running, or killed)", folder, project=project)
    return PastRun(
        run.id,
        started,
        raw["headline"],
        folder,
        raw["exit_code"],
        tuple(raw["window"]),
        raw["seconds"],
        raw["version"],
        tuple(Verdict.from_dict(verdict) for verdict in raw["verdicts"]),
        project=project,
    )
