"""What asks for a look, and when it is due: ticks, changes of the data, a question of a person."""

from __future__ import annotations

import datetime
import threading
from dataclasses import dataclass

from ordain.common.cron import MOST_TICKS, Cron, show_time
from ordain.scheduling.state import State

#: Longest wait at once: a machine that slept, or whose clock was set, is noticed after it.
LONGEST_WAIT = datetime.timedelta(seconds=60)
#: With changes that never settle, a look begins after so many times `settle_s`.
_SETTLE_TIMES = 10


@dataclass(frozen=True)
class Wish:
    """Why a look is due: for everything that was asked for up to `at`."""

    at: datetime.datetime
    why: str


class Wishes:
    """Everything that asks for a look of one project."""

    def __init__(self, cron: Cron | None, timezone: str, settle_s: float) -> None:
        """Begins with none.

        Args:
            cron: When to look; None without a cron expression.
            timezone: The zone that times are told in.
            settle_s: Seconds without a further change before a change is due.
        """
        self._cron = cron
        self._timezone = timezone
        self._settle = datetime.timedelta(seconds=settle_s)
        self._asked: Wish | None = None
        self._changes: tuple[datetime.datetime, datetime.datetime] | None = None
        self._again: Wish | None = None
        # The watcher tells of changes from its own thread.
        self._lock = threading.Lock()

    @property
    def is_asked(self) -> bool:
        """Whether somebody asked and was not answered."""
        return self._asked is not None

    def ask(self, at: datetime.datetime, why: str) -> None:
        """Asks for a look now, whatever ticks and data say."""
        # Later than whatever was covered at this very moment: a question wants a look of its own.
        at += datetime.timedelta(microseconds=1)
        if self._asked is not None:
            why = f"{self._asked.why}; {why}"
        self._asked = Wish(at, why)

    def remind(self, at: datetime.datetime, why: str) -> None:
        """Asks for a look at a later time, unless one begins before that time comes."""
        self._again = Wish(at, why)

    def change(self, at: datetime.datetime) -> None:
        """The data changed; may be called from any thread."""
        with self._lock:
            self._changes = (self._changes[0] if self._changes else at, at)

    def drop_covered(self, covered: datetime.datetime | None) -> None:
        """Forgets what a look that began at `covered` has seen."""
        if covered is None:
            return
        if self._asked is not None and self._asked.at <= covered:
            self._asked = None
        with self._lock:
            if self._changes is not None and self._changes[1] <= covered:
                self._changes = None
        if self._again is not None and self._again.at <= covered:
            self._again = None

    def due(self, state: State, now: datetime.datetime) -> Wish | None:
        """Everything that is asked for and not covered, as one wish; None if there is nothing."""
        self.drop_covered(state.covered)
        wishes = []
        ticks = self.ticks(state, now)
        if ticks:
            wishes.append(Wish(ticks[-1], self.name(ticks)))
        if state.current is not None:
            wishes.append(Wish(state.current.started, "a look that did not end"))
        if self._asked is not None:
            wishes.append(self._asked)
        with self._lock:
            if self._changes is not None and self._settled_at(*self._changes) <= now:
                wishes.append(Wish(self._changes[1], "the data changed"))
        if self._again is not None and self._again.at <= now:
            wishes.append(self._again)
        if not wishes:
            return None
        return Wish(max(wish.at for wish in wishes), "; ".join(wish.why for wish in wishes))

    def ticks(self, state: State, now: datetime.datetime) -> list[datetime.datetime]:
        """The ticks up to now that no look has answered."""
        if self._cron is None or state.covered is None:
            return []
        return self._cron.between(state.covered, now)

    def name(self, ticks: list[datetime.datetime]) -> str:
        """Ticks in words: `tick 2026-03-29 03:00 CEST`, or how many from when to when."""
        first = show_time(ticks[0], self._timezone)
        if len(ticks) == 1:
            return f"tick {first}"
        count = f"{len(ticks)} or more" if len(ticks) == MOST_TICKS else str(len(ticks))
        return f"{count} ticks, {first} to {show_time(ticks[-1], self._timezone)}"

    def pause(self, state: State, now: datetime.datetime) -> datetime.timedelta:
        """How long nothing can be due."""
        until = now + LONGEST_WAIT
        if self._cron is not None:
            until = min(until, self._cron.next_after(max(now, state.covered or now)))
        with self._lock:
            if self._changes is not None:
                until = min(until, self._settled_at(*self._changes))
        if self._again is not None:
            until = min(until, self._again.at)
        return max(until - now, datetime.timedelta(0))

    def _settled_at(self, first: datetime.datetime, last: datetime.datetime) -> datetime.datetime:
        """When the data has been quiet for long enough, or changes for too long to wait on."""
        return min(last + self._settle, first + _SETTLE_TIMES * self._settle)
