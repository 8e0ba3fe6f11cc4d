"""Content of the pages, read in each project's own thread and rendered by a template."""

from __future__ import annotations

import asyncio
import datetime
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ordain.common.json_files import read_json
from ordain.dashboard import charts
from ordain.dashboard.actions import offered
from ordain.dashboard.disk_usage import DiskUsage
from ordain.dashboard.models import RunFilter, RunLine, State
from ordain.dashboard.models import Verdict as CameTo
from ordain.dashboard.run_files import list_logs, run_folder
from ordain.dashboard.versions import ServedVersions, read_versions
from ordain.dashboard.workspaces import RunPage, Site, Source
from ordain.errors import OrdainError
from ordain.scheduling.status import read_status
from ordain.verdict import Outcome, Verdict

#: Decisions on one page; runs and decisions on a project's page.
DECISIONS, FEW = 50, 6


@dataclass(frozen=True)
class View:
    """Content of a page.

    Attributes:
        template: Its template.
        title: Its title.
        content: Variables of the template.
        project: Its project; empty for pages about all projects.
        tab: Its link in the navigation.
        refresh_s: Interval of reloading in the browser; 0 for never.
        status: HTTP status.
    """

    template: str
    title: str
    content: dict[str, Any]
    project: str = ""
    tab: str = ""
    refresh_s: int = 0
    status: int = 200


@dataclass(frozen=True)
class ProjectState:
    """State of a project.

    Attributes:
        name: Its name.
        folder: Its folder.
        problems: Errors while reading.
        published: Its serving directory.
        runs: The newest runs.
        total: Number of runs.
        status: Schedule and decisions; None if they cannot be read.
        usage: Disk use.
    """

    name: str
    folder: str
    problems: list[str]
    published: ServedVersions = field(default_factory=ServedVersions)
    runs: tuple[RunLine, ...] = ()
    total: int = 0
    status: dict[str, Any] | None = None
    usage: DiskUsage = field(default_factory=DiskUsage)

    @property
    def running(self) -> RunLine | None:
        """The current run."""
        return next((run for run in self.runs if run.state is State.RUNNING), None)

    @property
    def last(self) -> RunLine | None:
        """The newest run that has ended."""
        return next((run for run in self.runs if run.state is not State.RUNNING), None)


async def projects(site: Site) -> View:
    """Page of all projects and their newest runs."""
    standings = await asyncio.gather(*(_standing(source) for source in site.sources.values()))
    runs = await site.page_of_runs(RunFilter(), size=10)
    is_live = any(standing.running for standing in standings)
    content = {"standings": standings, "runs": runs}
    return View("projects.html", "Projects", content, tab="projects", refresh_s=_refresh(is_live))


async def runs(site: Site, query: Mapping[str, str]) -> View:
    """Page of the runs of a filter."""
    choice = RunFilter.read(query, site.names)
    page = await site.page_of_runs(choice)
    is_live = any(line.state is State.RUNNING for line in page.lines)
    content = {
        "choice": choice,
        "page": page,
        "projects": site.names,
        "states": tuple(State),
        "verdicts": tuple(CameTo),
    }
    return View("runs.html", "Runs", content, tab="runs", refresh_s=_refresh(is_live))


async def project(source: Source) -> View:
    """Page of one project."""
    standing = await _standing(source)
    page = RunPage(standing.runs[:FEW], standing.total, False, ())
    return View(
        "project.html",
        source.project.name,
        {"standing": standing, "page": page},
        project=source.project.name,
        tab="project",
        refresh_s=_refresh(standing.running is not None),
    )


async def models(site: Site, source: Source, news: str, allows_actions: bool) -> View:
    """Page of versions, labels, and metrics of the blessed models."""
    published, (series, problem) = await source.ask(
        lambda: (read_versions(source.project), _read_or([], source.trends.metrics))
    )
    figures = await _drawn(site, [c for one in series for c in charts.metric_charts(one)])
    content = {
        "published": published,
        "series": series,
        "figures": figures,
        "problem": problem,
        "news": news,
        "offered": {v.version: offered(v.version, published.labels) for v in published.versions}
        if allows_actions
        else {},
    }
    name = source.project.name
    return View("models.html", f"Models of {name}", content, name, "models")


async def drift(site: Site, source: Source) -> View:
    """Page of the drift of each feature from span to span."""
    series, problem = await source.ask(lambda: _read_or([], source.trends.drift))
    shown = series[: charts.MAX_CHARTS]
    figures = await _drawn(site, [charts.drift_chart(one) for one in shown])
    content = {"series": series, "figures": figures, "problem": problem}
    name = source.project.name
    return View("drift.html", f"Drift in {name}", content, name, "drift")


async def decisions(source: Source, query: Mapping[str, str]) -> View:
    """Page of retraining decisions and the state of the schedule."""
    page = RunFilter.read({"page": query.get("page", "1")}, ()).page
    status, problem = await source.ask(lambda: _status(source, page * DECISIONS + 1))
    found = status["decisions"] if status else []
    content = {
        "status": status,
        "decisions": found[(page - 1) * DECISIONS : page * DECISIONS],
        "page": page,
        "has_more": len(found) > page * DECISIONS,
        "problem": problem,
    }
    name = source.project.name
    return View("decisions.html", f"Decisions of {name}", content, name, "decisions", 15)


async def run(source: Source, run_id: str) -> View | None:
    """Page of one run; None if it does not exist."""

    def read() -> dict[str, Any] | None:
        moments, problem = source.runs.moments()
        found = next((moment for moment in moments if moment[1] == run_id), None)
        if found is None:
            return None
        line = source.runs.line(*found, source.runs.running())
        folder = run_folder(source.project.runs, run_id)
        result = None if folder is None else read_json(folder / "result.json")
        nodes: tuple[Any, ...] = ()
        if found[2] is not None:
            nodes, why = _read_or((), lambda: source.history.read_run(run_id).nodes)
            problem = problem or why
        return {
            "line": line,
            "result": result,
            "verdicts": _verdicts(result),
            "nodes": nodes,
            "logs": list_logs(source.project.runs, run_id),
            "folder": folder,
            "problem": problem,
        }

    content = await source.ask(read)
    if content is None:
        return None
    is_live = content["line"].state is State.RUNNING
    name = source.project.name
    return View("run.html", f"Run {run_id} of {name}", content, name, "runs", 2 if is_live else 0)


async def _standing(source: Source) -> ProjectState:
    def read() -> ProjectState:
        found, total, problem = source.runs.lines(RunFilter())
        runs = tuple(itertools.islice(found, FEW + 2))
        status, why = _status(source, FEW)
        published = read_versions(project)
        problems = [text for text in (problem, why, published.problem) if text]
        usage = source.disk.read()
        return ProjectState(
            project.name, folder, problems, published, runs, total or 0, status, usage
        )

    project, folder = source.project, str(source.project.folder)
    try:
        return await source.ask(read)
    except TimeoutError:
        return ProjectState(project.name, folder, ["ML Metadata did not answer in time"])


def _status(source: Source, limit: int) -> tuple[dict[str, Any] | None, str]:
    now = datetime.datetime.now(datetime.UTC)
    return _read_or(None, lambda: read_status(source.project, limit, now))


def _read_or(default: Any, read: Callable[[], Any]) -> tuple[Any, str]:
    """Read something; the default and the problem if that fails."""
    try:
        return read(), ""
    except (OrdainError, OSError) as error:
        return default, getattr(error, "message", str(error))


def _verdicts(result: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Verdicts of the gates, with all reasons that did not pass."""
    found = []
    for raw in (result or {}).get("verdicts", ()):
        try:
            verdict = Verdict.from_dict(raw)
        except (KeyError, TypeError, ValueError):
            continue
        notable = [r for r in verdict.reasons if r.outcome is not Outcome.PASSED]
        found.append({"verdict": verdict, "notable": notable})
    return found


async def _drawn(site: Site, wanted: list[Any]) -> list[Any]:
    """Draw charts in a thread: drawing waits for a child process."""
    return await asyncio.to_thread(site.drawings.draw, wanted)


def _refresh(is_live: bool) -> int:
    """Seconds until a page is reloaded; fewer during a run."""
    return 2 if is_live else 15
