"""A year of a scheduler: months of data come one by one, and it is killed now and then.

The scheduler is a real process with a clock that runs fast and stands still where it is told to,
so that every month has all its checks, however long a run takes on the machine. It checks at each
tick of `CRON`: four or five times a month.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import random
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fast_clock import HeldClock
from processes import Processes

from ordain.common.cron import Cron
from ordain.config.loading import load_project
from ordain.config.project import Project
from ordain.retraining.decision_log import read_decisions
from ordain.scheduling.child_process import is_alive, process_created
from ordain.scheduling.state import StateFile
from ordain.scheduling.status import folder_of

CRON = "0 3 * * 1"
ZONE = "Europe/Berlin"
YEAR = 2026
#: Real seconds that a check may take before the replay gives up: no claim about its speed.
PATIENCE_S = 900.0
_WEEK_S = 7 * 86_400.0
_HOUR = datetime.timedelta(hours=1)
#: What is killed, once each.
VICTIMS = ("scheduler", "run", "both")


@dataclass
class Kill:
    """One `kill -9`.

    Attributes:
        month: Month in whose first check it comes.
        victim: One of `VICTIMS`; a run that has ended already is the scheduler's turn.
        moment: When, as a share of the recent duration of a month's first check.
        after_s: Seconds after the check's start; None while it has not come.
        node: The node that was at work, as far as its log tells.
    """

    month: int
    victim: str
    moment: float
    after_s: float | None = None
    node: str = ""


def plan_kills(seed: int, months: list[int]) -> dict[int, Kill]:
    """Three kills in three months, at moments that the seed decides."""
    rng = random.Random(seed)
    victims = rng.sample(VICTIMS, len(VICTIMS))
    chosen = rng.sample(months, len(victims))
    return {
        month: Kill(month, victim, rng.random())
        for month, victim in zip(chosen, victims, strict=True)
    }


class Year:
    """One project over the months of a year."""

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        processes: Processes,
        command: list[str],
        kills: dict[int, Kill],
        week_s: float = 0.4,
    ) -> None:
        """Takes what it needs; `running` begins.

        Args:
            folder: The project's folder; its data folder is empty.
            scratch: Folder for the clock and the log.
            processes: What starts the scheduler.
            command: The command of a check.
            kills: Kill by month.
            week_s: Real seconds that a week takes.
        """
        self.project: Project = load_project(folder)
        self.kills = kills
        self.log = scratch / "scheduler.log"
        self._processes = processes
        factor = _WEEK_S / week_s
        self._clock = HeldClock(scratch / "clock.json", factor)
        self._told = {
            "command": command,
            "cron": CRON,
            "timezone": ZONE,
            "clock": str(scratch / "clock.json"),
            "factor": factor,
        }
        self._state = StateFile(folder_of(self.project))
        self._pid = 0
        self._checks_s = [5.0]

    @contextlib.contextmanager
    def running(self) -> Iterator[Year]:
        """Runs a scheduler from New Year on, and stops it at the end."""
        self._clock.start(datetime.datetime(YEAR, 1, 1, tzinfo=datetime.UTC))
        self._start()
        self._await("the scheduler's start", lambda: self._state.read().covered is not None)
        yield self
        code = self._processes.stop(self._pid)
        assert code == 0, self.tail()

    def check(self, tick: datetime.datetime, kill: Kill | None = None) -> None:
        """Lets the clock pass a tick, and waits until its check is over."""
        began = time.monotonic()
        self._clock.let_go_to(tick + _HOUR)
        if kill is not None:
            self._kill(kill, tick)
        self._await(f"the check of {tick}", lambda: self._is_over(tick))
        if kill is None and tick.day <= 7:
            self._checks_s.append(time.monotonic() - began)

    def month(self, number: int, *between: Callable[[], object]) -> None:
        """Lets a month go by, whose data has come.

        Args:
            number: The month, from 1.
            between: Actions after its first check, after its second, and so on.
        """
        first, *rest = ticks_of(number)
        self.check(first, self.kills.get(number))
        for act in between:
            act()
            self.check(rest.pop(0))
        # A killed run comes again with the next tick; then there is a quiet one.
        self.check(rest.pop(0))
        if rest:
            self.check(rest[-1])

    def run(self, *words: str) -> int:
        """Runs another command of `ordain` on the project; returns its exit code."""
        command, *options = words
        return self._processes.run([command, str(self.project.folder), *options], self.log)

    def decisions(self) -> list[dict[str, Any]]:
        """Every decision, oldest first."""
        return read_decisions(self.project.home, limit=1000)[::-1]

    def tail(self) -> str:
        """The end of what the schedulers said."""
        return self.log.read_text(errors="replace")[-6000:]

    def _start(self) -> None:
        self._pid = self._processes.schedule(self.project.folder, self._told, self.log)
        self._created = process_created(self._pid) or 0.0

    def _is_over(self, tick: datetime.datetime) -> bool:
        state = self._state.read()
        return state.current is None and state.covered is not None and state.covered >= tick

    def _kill(self, kill: Kill, tick: datetime.datetime) -> None:
        self._await(
            f"the check of {tick}",
            lambda: self._state.read().current is not None or self._is_over(tick),
        )
        kill.after_s = kill.moment * statistics.median(self._checks_s[-3:])
        time.sleep(kill.after_s)
        check = self._state.read().current
        kill.node = self._node() if check else "none: the check was over"
        victims = [self._pid] if kill.victim != "run" or check is None else []
        if kill.victim != "scheduler" and check is not None:
            victims.append(check.pid)
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):  # it ended at this very moment
                os.kill(pid, signal.SIGKILL)
        if self._pid in victims:
            self._await(
                "the scheduler's end", lambda: not is_alive(self._pid, self._created), False
            )
            self._start()

    def _node(self) -> str:
        """The node whose log was begun last in the newest run."""
        runs = sorted(self.project.runs.glob("*")) if self.project.runs.is_dir() else []
        logs = list((runs[-1] / "logs").glob("*.log")) if runs else []
        return max(logs, key=lambda path: path.stat().st_mtime_ns).stem if logs else "none yet"

    def _await(self, what: str, is_so: Callable[[], bool], is_alone: bool = True) -> None:
        end = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < end, f"{what} did not come\n{self.tail()}"
            assert not is_alone or is_alive(self._pid, self._created), f"it died\n{self.tail()}"
            time.sleep(0.02)


def ticks_of(month: int) -> list[datetime.datetime]:
    """The ticks of a month, UTC."""
    begin = datetime.datetime(YEAR, month, 1, tzinfo=datetime.UTC)
    end = datetime.datetime(YEAR + month // 12, month % 12 + 1, 1, tzinfo=datetime.UTC)
    return Cron(CRON, ZONE).between(begin, end)


def story(decisions: list[dict[str, Any]]) -> list[tuple[str, tuple[str, ...], int | None]]:
    """Decisions as a person retells them: what, why and over which newest span.

    Checks that found nothing are left out, and so is a decision that repeats the one before, as
    after a killed run.
    """
    told: list[tuple[str, tuple[str, ...], int | None]] = []
    for line in decisions:
        kinds = [reason["kind"] for reason in line["reasons"] if reason["effect"] != "note"]
        newest = line["windows"][-1][-1] if line["windows"] else None
        now = (line["action"], tuple(dict.fromkeys(kinds)), newest)
        if line["action"] != "nothing" and now not in told[-1:]:
            told.append(now)
    return told
