"""The projects that the application shows, each with threads of its own.

One reads: ml-metadata's client is used by one thread at a time, and a database that does not answer
keeps nobody waiting but those who ask for its project. The other changes labels, one at a time.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from ordain.config.project import Project
from ordain.dashboard.charts import Drawings
from ordain.dashboard.disk_usage import Disk
from ordain.dashboard.models import PAGE_SIZE, Choice, RunLine
from ordain.dashboard.runs import Runs
from ordain.dashboard.store import ReadOnlyHistory
from ordain.dashboard.trends import Trends
from ordain.dashboard.versions import Versions
from ordain.errors import ConfigError

#: Longest that a page waits for one project.
ANSWER_TIMEOUT_S = 30.0
Read = TypeVar("Read")
Made = TypeVar("Made")


class Source:
    """Everything that is known of one project."""

    def __init__(self, project: Project) -> None:
        """Takes the project; nothing is opened yet."""
        self.project = project
        self.history = ReadOnlyHistory(project)
        self.runs = Runs(project, self.history)
        self.trends = Trends(self.history, project.runs)
        self.versions = Versions(project)
        self.disk = Disk(project)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"read {project.name}")
        self._changes = ThreadPoolExecutor(1, thread_name_prefix=f"change {project.name}")

    async def ask(self, read: Callable[[], Read]) -> Read:
        """Has the project's thread read something.

        Raises:
            TimeoutError: It takes too long, as with a database that does not answer.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await loop.run_in_executor(self._thread, read)

    async def change(self, write: Callable[[], Made]) -> Made:
        """Has something changed, however long that takes.

        A change scans its version first, which takes as long as the model is large; an answer
        that says nothing of how it ended would be wrong. Pages are read meanwhile.
        """
        return await asyncio.get_running_loop().run_in_executor(self._changes, write)

    def close(self) -> None:
        """Lets the threads end."""
        for thread in (self._thread, self._changes):
            thread.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class RunPage:
    """One page of a list of runs.

    Attributes:
        lines: The runs, newest first.
        total: How many the choice covers; None where they were not counted.
        has_more: Whether a further page follows.
        problems: What could not be read, by project.
    """

    lines: tuple[RunLine, ...]
    total: int | None
    has_more: bool
    problems: tuple[tuple[str, str], ...]


class Site:
    """All projects of the application."""

    def __init__(self, projects: Iterable[Project]) -> None:
        """Takes the projects.

        Raises:
            ConfigError: Two of them have one name.
        """
        self.sources: dict[str, Source] = {}
        self.drawings = Drawings()
        for project in projects:
            if project.name in self.sources:
                other = self.sources[project.name].project.folder
                raise ConfigError(
                    f"two projects are named {project.name!r}: {other} and {project.folder}",
                    "start a dashboard for each, on ports of their own",
                )
            self.sources[project.name] = Source(project)

    @property
    def names(self) -> tuple[str, ...]:
        """The projects' names."""
        return tuple(self.sources)

    async def page_of_runs(self, choice: Choice, size: int = PAGE_SIZE) -> RunPage:
        """A page of the runs of a choice, of all projects together."""
        chosen = [s for name, s in self.sources.items() if choice.project in ("", name)]
        end = choice.page * size
        # The runs of one project that are only counted need not be read.
        skip = end - size if len(chosen) == 1 and not (choice.state or choice.verdict) else 0

        async def newest(source: Source) -> tuple[list[RunLine], int | None, str]:
            def read() -> tuple[list[RunLine], int | None, str]:
                lines, total, problem = source.runs.lines(choice, skip)
                return list(itertools.islice(lines, end - skip + 1)), total, problem

            try:
                return await source.ask(read)
            except TimeoutError:
                return [], None, f"there was no answer within {ANSWER_TIMEOUT_S:g} s"

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
        """Lets all threads end."""
        for source in self.sources.values():
            source.close()
