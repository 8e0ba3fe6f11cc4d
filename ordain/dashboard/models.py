"""What the pages are about: a run in one line, a choice of runs, a page of them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

#: Runs on one page.
PAGE_SIZE = 25
#: Nobody leafs further; a number beyond it is no request of a person.
MAX_PAGE = 10_000


class State(StrEnum):
    """Whether a run has come to its end."""

    RUNNING = "running"
    ENDED = "ended"
    FAILED = "failed"
    UNFINISHED = "did not end"
    REMOVED = "removed"


class Verdict(StrEnum):
    """What a run came to."""

    PUSHED = "pushed"
    UNCHANGED = "nothing new"
    DATA_BLOCKED = "data blocked"
    NOT_BLESSED = "not blessed"
    REFUSED = "server refused"
    NONE = "none"


@dataclass(frozen=True)
class RunLine:
    """A run as a list shows it.

    Attributes:
        project: The project's name.
        id: The run.
        started: When it began, UTC.
        state: Whether it has ended.
        verdict: What it came to.
        headline: The outcome in one line.
        seconds: How long it took; None if that is not known.
        window: Its spans, oldest first.
        version: The version that holds its model, or None.
        has_report: Whether there is a page of it.
        has_folder: Whether its folder is there.
        node: While it runs: the node that executes, and how many are done.
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
        """The class of its badge."""
        if self.state is State.RUNNING:
            return "running"
        if self.state is State.FAILED:
            return "failed"
        if self.verdict in (Verdict.DATA_BLOCKED, Verdict.NOT_BLESSED, Verdict.REFUSED):
            return "blocked"
        return "passed" if self.verdict is Verdict.PUSHED else "neutral"

    @property
    def spans(self) -> str:
        """Its window in words."""
        if not self.window:
            return ""
        if len(self.window) == 1:
            return str(self.window[0])
        return f"{self.window[0]} to {self.window[-1]}"


@dataclass(frozen=True)
class Choice:
    """Which runs are wanted: what stands in the address of the page.

    Attributes:
        project: Name of a project; empty for all.
        state: A state, or empty for any.
        verdict: A verdict, or empty for any.
        since: First day, UTC, or None.
        until: Last day, UTC, or None.
        page: Number of the page, from 1 on.
        problems: What the address asked for and could not be understood.
    """

    project: str = ""
    state: str = ""
    verdict: str = ""
    since: datetime.date | None = None
    until: datetime.date | None = None
    page: int = 1
    problems: tuple[str, ...] = ()

    @classmethod
    def read(cls, query: Mapping[str, str], projects: tuple[str, ...]) -> Choice:
        """Reads an address; what is no choice is left out, and said so."""
        problems: list[str] = []

        def one_of(key: str, allowed: tuple[str, ...]) -> str:
            value = query.get(key, "")
            if value and value not in allowed:
                problems.append(f"there is no {key} {value[:40]!r}")
                return ""
            return value

        def day(key: str) -> datetime.date | None:
            value = query.get(key, "")
            try:
                return datetime.date.fromisoformat(value) if value else None
            except ValueError:
                problems.append(f"{key}: {value[:40]!r} is not a day such as 2026-11-21")
                return None

        number = query.get("page", "1")
        is_page = number.isascii() and number.isdecimal() and 0 < int(number[:6]) <= MAX_PAGE
        if not is_page:
            problems.append(f"there is no page {number[:40]!r}")
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
        """Whether anything is left out."""
        return bool(self.project or self.state or self.verdict or self.since or self.until)

    def covers_day(self, moment: datetime.datetime) -> bool:
        """Whether a run that began then is wanted."""
        day = moment.date()
        is_late = self.since is None or day >= self.since
        return is_late and (self.until is None or day <= self.until)

    def covers(self, line: RunLine) -> bool:
        """Whether a run is wanted."""
        return self.state in ("", line.state) and self.verdict in ("", line.verdict)

    def address(self, page: int) -> str:
        """The query of another page of the same choice."""
        parts: dict[str, Any] = {
            "project": self.project,
            "state": self.state,
            "verdict": self.verdict,
            "from": self.since,
            "to": self.until,
            "page": page if page > 1 else "",
        }
        return "?" + urlencode({key: str(value) for key, value in parts.items() if value})
