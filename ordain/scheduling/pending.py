"""Pending triggers for the next check: cron ticks, data changes, requests."""

from __future__ import annotations

import datetime
import threading
from dataclasses import dataclass

from ordain.common.cron import MOST_TICKS, Cron, show_time
from ordain.scheduling.state import State

#: Longest single wait: a suspended machine or a changed clock is noticed after it.
LONGEST_WAIT = datetime.timedelta(seconds=60)
#: If changes never settle, a check is due after this many times `settle_s`.
_SETTLE_TIMES = 10


@dataclass(frozen=True)
class Trigger:
    """Reason for a check; a check that starts at or after `at` covers it."""

    at: datetime.datetime
    why: str


class PendingTriggers:
    """Triggers of one project that no check has covered."""

    def __init__(self, cron: Cron | None, timezone: str, settle_s: float) -> None:
        """Starts without triggers.

        Args:
            cron: When to check; None without a cron expression.
            timezone: Time zone of printed times.
            settle_s: Seconds without a further change until a change is due.
        """
        self._cron = cron
        self._timezone = timezone
        self._settle = datetime.timedelta(seconds=settle_s)
        self._request: Trigger | None = None
        self._retry: Trigger | None = None
        self._changes: tuple[datetime.datetime, datetime.datetime] | None = None
        # The watcher reports changes from its own thread.
        self._lock = threading.Lock()

    @property
    def is_requested(self) -> bool:
        """True until a check covers the request."""
        return self._request is not None

    def request(self, at: datetime.datetime, why: str) -> None:
        """Requests a check now, independent of ticks and data."""
        # Later than a check that started at this very moment, which does not cover the request.
        at += datetime.timedelta(microseconds=1)
        if self._request is not None:
            why = f"{self._request.why}; {why}"
        self._request = Trigger(at, why)

    def set_retry(self, retry: Trigger | None) -> None:
        """Replaces the retry that the last check asked for; None cancels it."""
        self._retry = retry

    def add_change(self, at: datetime.datetime) -> None:
        """Records a change of the data; may be called from any thread."""
        with self._lock:
            self._changes = (self._changes[0] if self._changes else at, at)

    def drop_covered(self, covered: datetime.datetime | None) -> None:
        """Removes what a check that started at `covered` has seen."""
        if covered is None:
            return
        if self._request is not None and self._request.at <= covered:
            self._request = None
        if self._retry is not None and self._retry.at <= covered:
            self._retry = None
        with self._lock:
            if self._changes is not None and self._changes[1] <= covered:
                self._changes = None

    def due(self, state: State, now: datetime.datetime) -> Trigger | None:
        """Merges all triggers that are due and not covered; None if there are none."""
        self.drop_covered(state.covered)
        triggers = []
        ticks = self.ticks(state, now)
        if ticks:
            triggers.append(Trigger(ticks[-1], self.describe(ticks)))
        if state.current is not None:
            triggers.append(Trigger(state.current.started, "a check that did not end"))
        if self._request is not None:
            triggers.append(self._request)
        with self._lock:
            if self._changes is not None and self._settled_at(*self._changes) <= now:
                triggers.append(Trigger(self._changes[1], "the data changed"))
        if self._retry is not None and self._retry.at <= now:
            triggers.append(self._retry)
        if not triggers:
            return None
        return Trigger(max(t.at for t in triggers), "; ".join(t.why for t in triggers))

    def ticks(self, state: State, now: datetime.datetime) -> list[datetime.datetime]:
        """Lists the ticks up to now that no check has covered."""
        if self._cron is None or state.covered is None:
            return []
        return self._cron.between(state.covered, now)

    def describe(self, ticks: list[datetime.datetime]) -> str:
        """Formats ticks: `tick 2026-03-29 03:00 CEST`, or how many from when to when."""
        first = show_time(ticks[0], self._timezone)
        if len(ticks) == 1:
            return f"tick {first}"
        count = f"{len(ticks)} or more" if len(ticks) == MOST_TICKS else str(len(ticks))
        return f"{count} ticks, {first} to {show_time(ticks[-1], self._timezone)}"

    def pause(self, state: State, now: datetime.datetime) -> datetime.timedelta:
        """Time until the next trigger can be due."""
        until = now + LONGEST_WAIT
        if self._cron is not None:
            until = min(until, self._cron.next_after(max(now, state.covered or now)))
        with self._lock:
            if self._changes is not None:
                until = min(until, self._settled_at(*self._changes))
        if self._retry is not None:
            until = min(until, self._retry.at)
        return max(until - now, datetime.timedelta(0))

    def _settled_at(self, first: datetime.datetime, last: datetime.datetime) -> datetime.datetime:
        """Moment at which changes are settled, or have gone on for too long to wait for that."""
        return min(last + self._settle, first + _SETTLE_TIMES * self._settle)
