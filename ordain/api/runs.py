"""Past runs and their reports."""

from __future__ import annotations

import datetime
import difflib
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from ordain.api.arguments import check_limit, check_project
from ordain.common.html_tables import html_table
from ordain.common.json_files import read_json
from ordain.config.project import Project
from ordain.errors import ConfigError, InfrastructureError
from ordain.history.diff import read_facts
from ordain.history.runs import History, Run
from ordain.verdict import Verdict

#: Height of a report in a notebook, in pixels.
_REPORT_HEIGHT = 800


@dataclass(frozen=True)
class PastRun:
    """A run that has ended, was killed, or is running.

    Attributes:
        id: The run's id.
        started: When it began, in UTC.
        headline: Its result in one line.
        exit_code: As of the command line; None if it has not ended, or its folder was removed.
        window: Numbers of its spans, oldest first.
        seconds: Wall time; None if it has not ended.
        version: Serving version that holds its model, or None.
        model: That version's folder, or None.
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
    model: str | None = None
    verdicts: tuple[Verdict, ...] = ()
    project: Project = field(repr=False, kw_only=True)

    @property
    def metrics(self) -> Mapping[tuple[str, str], float | str]:
        """Value by slice (empty for all rows) and metric; the reason where it is undefined."""
        return read_facts(self.project, history_of(self.project), self.id).metrics

    @property
    def local_time(self) -> str:
        """Start time in the machine's time zone, ISO 8601 to the second."""
        return self.started.astimezone().isoformat(sep=" ", timespec="seconds")

    def to_dict(self) -> dict[str, Any]:
        """The row of `ordain runs list --json`."""
        return {
            "run": self.id,
            "started": self.local_time,
            "headline": self.headline,
            "exit_code": self.exit_code,
            "version": self.version,
            "model": self.model,
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
        """A run by its position, or several by a slice."""
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
        ConfigError: The project or the limit is none.
        InfrastructureError: The metadata store cannot be opened.
    """
    check_project(project)
    check_limit(limit)
    if not project.metadata.exists():
        return Runs([])
    return Runs([read_past_run(project, one) for one in history_of(project).list_runs()[:limit]])


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
        ConfigError: There is no such run.
        InfrastructureError: The metadata store cannot be opened, or the report not be written.
    """
    check_project(project)
    run_id = find_run_id(project, run_id)
    from ordain.reports.page import write_report  # noqa: PLC0415  imports the charts

    try:
        return Report(write_report(project, run_id))
    except OSError as error:
        raise InfrastructureError(
            f"the report of {run_id} cannot be written: {error}",
            "free space or correct permissions",
        ) from error


def find_run_id(project: Project, run: str | None) -> str:
    """Returns a run's id, checked to exist; that of the newest run for None.

    Raises:
        ConfigError: There is no such run; names the nearest ids.
        InfrastructureError: The metadata store cannot be opened.
    """
    if run is not None and Path(run).name == run and (project.runs / run).is_dir():
        return run
    known = [one.id for one in history_of(project).list_runs()] if project.metadata.exists() else []
    if run is None and known:
        return known[0]
    if run is None:
        raise ConfigError(f"{project.name} has not run yet", "ordain run PROJECT")
    if run in known:  # its folder was removed
        return run
    folders = {path.name for path in project.runs.glob("*") if path.is_dir()}
    have = sorted({*known, *folders}, reverse=True)
    near = difflib.get_close_matches(run, have, n=3, cutoff=0.5)
    named = f"nearest: {', '.join(near)}" if near else f"newest: {', '.join(have[:3])}"
    raise ConfigError(
        f"{project.name} has no run {run!r}",
        f"{named}; all: ordain runs list" if have else "ordain runs list",
    )


def history_of(project: Project) -> History:
    """The project's runs in the ML Metadata store."""
    return History(project.metadata, project.name, project.paths)


def read_past_run(project: Project, run: Run) -> PastRun:
    """Adds its result, read from the run's folder, to a run of the store."""
    started = datetime.datetime.fromtimestamp(run.started_ms / 1000, datetime.UTC)
    folder = project.runs / run.id
    headline, result = "its folder was removed (ordain gc)", {}
    if folder.is_dir():
        try:
            raw = read_json(folder / "result.json") or {}
            headline = raw["headline"]
            result = {
                "exit_code": raw["exit_code"],
                "window": tuple(raw["window"]),
                "seconds": raw["seconds"],
                "version": raw["version"],
                "model": raw["model"],
                "verdicts": tuple(Verdict.from_dict(verdict) for verdict in raw["verdicts"]),
            }
        except (ValueError, KeyError, TypeError):
            headline = "did not end (running, or killed)"
    return PastRun(run.id, started, headline, folder, project=project, **result)
