"""Clocks that run faster than real time, the same in every process that uses them."""

from __future__ import annotations

import datetime
import json
import time
from pathlib import Path

from ordain.common.atomic_files import write_atomic
from ordain.scheduling.clock import Clock, InterruptibleWait

BASE = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
#: Shortest wait of a held clock, in real seconds: a scheduler waits for at most a minute of its
#: own time, which would be no wait at all.
LEAST_WAIT_S = 0.02


class FastClock(Clock):
    """At `origin`, in seconds since 1970, it is `base`; then it runs `factor` times as fast."""

    def __init__(self, origin: float, factor: float, base: datetime.datetime = BASE) -> None:
        self._origin = origin
        self._factor = factor
        self._base = base

    def now(self) -> datetime.datetime:
        return self._base + datetime.timedelta(seconds=(time.time() - self._origin) * self._factor)

    def wait(self, waiter: InterruptibleWait, duration: datetime.timedelta) -> None:
        waiter.wait(duration.total_seconds() / self._factor)


class HeldClock(Clock):
    """A fast clock that stands still at a moment until it is let go on to another one.

    It is a file, so that whoever lets it go on and the schedulers that follow it, before and
    after a crash, have the same time. A year goes by as fast as the machine can follow: however
    long a run takes, the next month does not begin before whoever holds the clock wants it to.
    """

    def __init__(self, path: Path, factor: float) -> None:
        self._path = path
        self._factor = factor

    def start(self, base: datetime.datetime) -> None:
        """Begins, standing still."""
        self._write(base, base)

    def let_go_to(self, until: datetime.datetime) -> None:
        """Goes on from where it is, and stands still at another moment."""
        self._write(self.now(), until)

    def now(self) -> datetime.datetime:
        raw = json.loads(self._path.read_text())
        base = datetime.datetime.fromisoformat(raw["base"])
        gone = datetime.timedelta(seconds=(time.time() - raw["origin"]) * self._factor)
        return min(base + gone, datetime.datetime.fromisoformat(raw["until"]))

    def wait(self, waiter: InterruptibleWait, duration: datetime.timedelta) -> None:
        waiter.wait(max(LEAST_WAIT_S, duration.total_seconds() / self._factor))

    def _write(self, base: datetime.datetime, until: datetime.datetime) -> None:
        raw = {"origin": time.time(), "base": base.isoformat(), "until": until.isoformat()}
        write_atomic(self._path, json.dumps(raw))
