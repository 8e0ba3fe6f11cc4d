"""Data of the pages: a run in one line, and a filter of runs."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

#: Runs on one page.
PAGE_SIZE = 25
#: Highest page number; a larger one is refused.
MAX_PAGE = 10_000


class State(StrEnum):
    """State of a run."""

    RUNNING = "running"
    ENDED = "ended"
    FAILED = "failed"
    UNFINISHED = "did not end"
    REMOVED = "removed"


class Verdict(StrEnum):
    """Outcome of a run."""

    PUSHED = "pushed"
    UNCHANGED = "nothing new"
    DATA_BLOCKED = "data blocked"
    NOT_BLESSED = "not blessed"
    REFUSED = "server refused"
    NONE = "none"


@dataclass(frozen=True)
class RunLine:
    """A run as one line of a list.

    Attributes:
        project: The project's name.
        id: The run id.
        started: Start time, UTC.
        state: Its state.
        verdict: Its outcome.
        headline: The outcome in one line.
        seconds: Duration; None if unknown.
        window: Its spans, oldest first.
        version: The published version of its model, or None.
        has_report: True if it has a report.
        has_folder: True if its folder exists.
        node: While it runs, the current node and the number of finished nodes.
    """

    project: str
    id: str
    started: datetime.datetime
    state: State
    verdict: Verdict
    headline: str
    seconds: float | None = None
    window: tuple[int, ...] = ()
    version: int | None = None
    has_report: bool = False
    has_folder: bool = True
    node: str = ""

    @property
    def badge(self) -> str:
        """CSS class of its badge."""
        if self.state is State.RUNNING:
            return "running"
        if self.state is State.FAILED:
            return "failed"
        if self.verdict in (Verdict.DATA_BLOCKED, Verdict.NOT_BLESSED, Verdict.REFUSED):
            return "blocked"
        return "passed" if self.verdict is Verdict.PUSHED else "neutral"

    @property
    def spans(self) -> str:
        """Its window as text."""
        if not self.window:
            return ""
        if len(self.window) == 1:
            return str(self.window[0])
        return f"{self.window[0]} to {self.window[-1]}"


@dataclass(frozen=True)
class RunFilter:
    """Filter of runs, from the URL's query.

    Attributes:
        project: Name of a project; empty for all.
        state: A state, or empty for any.
        verdict: A verdict, or empty for any.
        since: First day, UTC, or None.
        until: Last day, UTC, or None.
        page: Number of the page, from 1 on.
        problems: Parts of the query that are invalid.
    """

    project: str = ""
    state: str = ""
    verdict: str = ""
    since: datetime.date | None = None
    until: datetime.date | None = None
    page: int = 1
    problems: tuple[str, ...] = ()

    @classmethod
    def read(cls, query: Mapping[str, str], projects: tuple[str, ...]) -> RunFilter:
        """Read a query; invalid parts are dropped and listed in `problems`."""
        problems: list[str] = []

        def one_of(key: str, allowed: tuple[str, ...]) -> str:
            value = query.get(key, "")
            if value and value not in allowed:
                problems.append(f"unknown {key} {value[:40]!r}")
                return ""
            return value

        def day(key: str) -> datetime.date | None:
            value = query.get(key, "")
            try:
                return datetime.date.fromisoformat(value) if value else None
            except ValueError:
                problems.append(f"{key}: {value[:40]!r} is not a date like 2026-11-21")
                return None

        number = query.get("page", "1")
        is_page = number.isascii() and number.isdecimal() and 0 < int(number[:6]) <= MAX_PAGE
        if not is_page:
            problems.append(f"unknown page {number[:40]!r}")
        return cls(
            one_of("project", projects),
            one_of("state", tuple(State)),
            one_of("verdict", tuple(Verdict)),
            day("from"),
            day("to"),
            int(number) if is_page else 1,
            tuple(problems),
        )

    @property
    def is_filtered(self) -> bool:
        """True if the filter excludes any run."""
        return bool(self.project or self.state or self.verdict or self.since or self.until)

    def covers_day(self, moment: datetime.datetime) -> bool:
        """True if the filter includes runs that started then."""
        day = moment.date()
        is_late = self.since is None or day >= self.since
        return is_late and (self.until is None or day <= self.until)

    def covers(self, line: RunLine) -> bool:
        """True if the filter includes a run."""
        return self.state in ("", line.state) and self.verdict in ("", line.verdict)

    def address(self, page: int) -> str:
        """Query of another page of the same filter."""
        parts: dict[str, Any] = {
            "project": self.project,
            "state": self.state,
            "verdict": self.verdict,
            "from": self.since,
            "to": self.until,
            "page": page if page > 1 else "",
        }
        return "?" + urlencode({key: str(value) for key, value in parts.items() if value})
