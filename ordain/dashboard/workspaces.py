"""The projects of the application, each with two threads of its own.

One reads: ml-metadata's client must be used by one thread at a time, and a database that does not
answer blocks only the pages of its project. The other changes labels, one change at a time.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from ordain.config.project import Project
from ordain.dashboard.charts import ChartCache
from ordain.dashboard.disk_usage import Disk
from ordain.dashboard.models import PAGE_SIZE, RunFilter, RunLine
from ordain.dashboard.runs import Runs
from ordain.dashboard.store import ReadOnlyHistory
from ordain.dashboard.trends import Trends
from ordain.errors import ConfigError

#: Time that a page waits for one project.
ANSWER_TIMEOUT_S = 30.0
Read = TypeVar("Read")
Made = TypeVar("Made")


class Source:
    """Data of one project."""

    def __init__(self, project: Project) -> None:
        """Create it; nothing is opened yet."""
        self.project = project
        self.history = ReadOnlyHistory(project)
        self.runs = Runs(project, self.history)
        self.trends = Trends(self.history, project.runs)
        self.disk = Disk(project)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"read {project.name}")
        self._changes = ThreadPoolExecutor(1, thread_name_prefix=f"change {project.name}")

    async def ask(self, read: Callable[[], Read]) -> Read:
        """Read in the project's thread.

        Raises:
            TimeoutError: It takes too long, for example if a database does not answer.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await loop.run_in_executor(self._thread, read)

    async def change(self, write: Callable[[], Made]) -> Made:
        """Make a change, without a time limit.

        A change scans its version first, and the duration depends on the model's size; a timeout
        would leave the outcome unknown. Pages can be read meanwhile.
        """
        return await asyncio.get_running_loop().run_in_executor(self._changes, write)

    def close(self) -> None:
        """End the threads."""
        for thread in (self._thread, self._changes):
            thread.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class RunPage:
    """One page of a list of runs.

    Attributes:
        lines: The runs, newest first.
        total: Number of runs in the filter; None if not counted.
        has_more: True if another page follows.
        problems: Errors while reading, by project.
    """

    lines: tuple[RunLine, ...]
    total: int | None
    has_more: bool
    problems: tuple[tuple[str, str], ...]


class Site:
    """All projects of the application."""

    def __init__(self, projects: Iterable[Project]) -> None:
        """Create it from the projects.

        Raises:
            ConfigError: Two projects have the same name.
        """
        self.sources: dict[str, Source] = {}
        self.drawings = ChartCache()
        for project in projects:
            if project.name in self.sources:
                other = self.sources[project.name].project.folder
                raise ConfigError(
                    f"two projects are named {project.name!r}: {other} and {project.folder}",
                    "start a dashboard for each, on separate ports",
                )
            self.sources[project.name] = Source(project)

    @property
    def names(self) -> tuple[str, ...]:
        """The projects' names."""
        return tuple(self.sources)

    async def page_of_runs(self, choice: RunFilter, size: int = PAGE_SIZE) -> RunPage:
        """Read a page of the runs of a filter, over all projects."""
        chosen = [s for name, s in self.sources.items() if choice.project in ("", name)]
        end = choice.page * size
        # Runs of one project that are only counted are not read.
        skip = end - size if len(chosen) == 1 and not (choice.state or choice.verdict) else 0

        async def newest(source: Source) -> tuple[list[RunLine], int | None, str]:
            def read() -> tuple[list[RunLine], int | None, str]:
                lines, total, problem = source.runs.lines(choice, skip)
                return list(itertools.islice(lines, end - skip + 1)), total, problem

            try:
                return await source.ask(read)
            except TimeoutError:
                return [], None, f"timed out after {ANSWER_TIMEOUT_S:g} s"

        answers = await asyncio.gather(*(newest(source) for source in chosen))
        problems = [(s.project.name, a[2]) for s, a in zip(chosen, answers, strict=True) if a[2]]
        totals = [total for _, total, _ in answers]
        lines = sorted(
            (line for found, _, _ in answers for line in found),
            key=lambda line: (line.started, line.id),
            reverse=True,
        )
        return RunPage(
            tuple(lines[end - size - skip : end - skip]),
            None if None in totals else sum(t for t in totals if t is not None),
            len(lines) > end - skip,
            tuple(problems),
        )

    def close(self) -> None:
        """End all threads."""
        for source in self.sources.values():
            source.close()
