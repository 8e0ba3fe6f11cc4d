"""The scheduler: waits for ticks and changes, and has each answered by one look at a time.

A *look* is one start of `ordain retrain PROJECT --json`, which decides and, if need be, runs. What
asks for it is a wish: ticks of the cron expression, a change in the data folder, a look that a
killed scheduler left. All wishes that are due are answered together: whatever was asked for before
a look began is seen by it. `ordain.scheduling.state` has the rule that follows from that.
"""

from __future__ import annotations

import datetime
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ordain.common.cron import Cron, show_time
from ordain.errors import ExitCode, InfrastructureError
from ordain.retraining.report import Report, find_report, read_report
from ordain.scheduling.child_process import Child, is_alive
from ordain.scheduling.clock import Bell, Clock
from ordain.scheduling.pending import Wish, Wishes
from ordain.scheduling.state import Look, State, StateFile

#: How often, in seconds of the real world, it is looked whether the command has ended.
CHECK_S = 0.1
#: Seconds until the next try after the disk or the folder of the state failed.
_TROUBLE_S = 60.0
#: What a stopped look answers with: 128 and SIGTERM's number, as a shell has it.
STOPPED = 143
#: A covered time further ahead than this is from a clock that was wrong.
_AHEAD = datetime.timedelta(minutes=5)
#: How SIGTERM and SIGINT show in an exit code, from the system and from a shell.
_SIGNALLED = (-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGINT)


@dataclass(frozen=True)
class Setup:
    """What a scheduler is for.

    Attributes:
        folder: `<workspace>/<name>/schedule`.
        command: The command of a look.
        cron: When to look; None without a cron expression.
        timezone: The zone that times are told in.
        missed: Whether ticks that nobody answered while no scheduler ran are made up for.
        settle_s: Seconds without a further change in the data before a look.
        again_s: Seconds until another look where one found that it has to wait, or could not look;
            None where the next tick is soon enough.
        grace_s: Seconds the command has to end after SIGTERM.
        poll_s: Seconds between two tries while another scheduler of the project looks.
    """

    folder: Path
    command: tuple[str, ...]
    cron: Cron | None = None
    timezone: str = "UTC"
    missed: Literal["run", "skip"] = "run"
    settle_s: float = 1.0
    again_s: float | None = None
    grace_s: float = 60.0
    poll_s: float = 0.25


class Scheduler:
    """One scheduler of one project."""

    def __init__(
        self,
        setup: Setup,
        clock: Clock,
        bell: Bell,
        say: Callable[[str], None],
        on_report: Callable[[Report, Look, Look | None], None],
    ) -> None:
        """Prepares; `run` or `look_once` begins.

        Args:
            setup: What it is for.
            clock: The source of time.
            bell: Ends its waits; `bell.stop()` ends the scheduler.
            say: Is told in lines what happens and why.
            on_report: Is given what a look came to, the look, and the look before. It is called
                before the look counts as ended, so what it keeps on disk is never lost.
        """
        self._setup = setup
        self._clock = clock
        self._bell = bell
        self._say = say
        self._on_report = on_report
        self._file = StateFile(setup.folder)
        self._wishes = Wishes(setup.cron, setup.timezone, setup.settle_s)
        self._told_waiting = False

    def changed(self) -> None:
        """Tells it that the data changed; may be called from any thread."""
        self._wishes.change(self._clock.now())
        self._bell.ring()

    def run(self, look_at_start: bool = False) -> None:
        """Answers ticks and changes until the bell says stop.

        Args:
            look_at_start: Whether to look once at the beginning: for a watch, which cannot know
                what changed before it.

        Raises:
            InfrastructureError: The state cannot be read or written at the start. Later it is
                said, and tried again.
        """
        self._begin()
        if look_at_start:
            self._wishes.ask(self._clock.now(), "start of the watch")
        while not self._bell.is_stopping:
            try:
                self._step()
            except InfrastructureError as error:
                self._say(f"{error.message}; trying again in {_TROUBLE_S:g} s")
                self._bell.wait(_TROUBLE_S)
        self._say("stopped")

    def look_once(self, why: str) -> int:
        """Looks once, now, or after the look that goes on.

        Returns:
            The exit code of the look, also of another scheduler's that began after the question;
            `STOPPED` if it was stopped.
        """
        self._wishes.ask(self._clock.now(), why)
        while not self._bell.is_stopping:
            code = self._take_turn()
            if code is not None:
                return code
            state = self._file.read()
            self._wishes.drop_covered(state.covered)
            if not self._wishes.is_asked and state.last is not None:
                return int(state.last.exit_code or 0)
        return STOPPED

    def _begin(self) -> None:
        now = self._clock.now()
        with self._file.turn() as is_ours:
            if not is_ours:
                return
            state = self._file.read()
            missed = self._wishes.ticks(state, now)
            if missed:
                done = "one look for all" if self._setup.missed == "run" else "skipped"
                self._say(f"missed while no scheduler ran: {self._wishes.name(missed)}; {done}")
            if state.covered is None or self._setup.missed == "skip":
                self._file.cover(now)

    def _step(self) -> None:
        """Answers what is due, or waits until something may be."""
        now = self._clock.now()
        state = self._file.read()
        if state.covered is None or state.covered - now > _AHEAD:
            was = "is gone" if state.covered is None else f"is in the future: {state.covered}"
            with self._file.turn() as is_ours:
                if is_ours:
                    self._say(f"the time of the last look {was}; ticks count from now")
                    self._file.cover(now)
                    return
            self._bell.wait(self._setup.poll_s)
        elif self._wishes.due(state, now) is None:
            self._clock.wait(self._bell, self._wishes.pause(state, now))
        else:
            self._take_turn()

    def _take_turn(self) -> int | None:
        """Looks if nobody else does; returns the look's exit code, or None without a look."""
        with self._file.turn() as is_ours:
            if is_ours and self._is_free(self._file.read()):
                self._told_waiting = False
                state = self._file.read()
                wish = self._wishes.due(state, self._clock.now())
                if wish is not None:
                    return self._look(wish, state)
                self._say("nothing left to look for: it was seen, or is skipped")
                return None
        if not self._told_waiting:
            self._say("waiting: a look of this project goes on")
            self._told_waiting = True
        self._bell.wait(self._setup.poll_s)
        return None

    def _is_free(self, state: State) -> bool:
        """Whether no look goes on; clears away one that a killed scheduler left."""
        left = state.current
        if left is None:
            return True
        if is_alive(left.pid, left.born):
            return False
        report = find_report(self._setup.folder / left.output)
        at = show_time(left.started, self._setup.timezone)
        if report is not None:
            self._say(f"the look of {at} ended without its scheduler")
            self._finish(left, report, state)
            return True
        again = self._setup.missed == "run"
        self._say(f"the look of {at} was killed; {'looking again' if again else 'skipped'}")
        self._forget(left, state)
        if again:
            self._wishes.ask(self._clock.now(), f"the look of {at} was killed")
        return True

    def _look(self, wish: Wish, state: State) -> int:
        started = max(self._clock.now(), wish.at)
        output = self._setup.folder / f"look-{started:%Y%m%dT%H%M%S%f}.json"
        self._say(f"looking: {wish.why}")
        child = Child(self._setup.command, output)
        try:
            look = Look(started, wish.why, child.pid, child.born, output.name)
            self._file.write(replace(state, current=look))
            while (code := child.poll()) is None and not self._bell.is_stopping:
                self._bell.wait(CHECK_S)
            if code in _SIGNALLED:
                # Whoever stops the machine signals all processes, and the news may come late.
                self._bell.wait(1.0)
            if code is None:
                self._say(f"stopping the look: SIGTERM, and an end in {self._setup.grace_s:g} s")
                code = child.stop(self._setup.grace_s)
            report = read_report(output, code)
            is_cut_short = code in _SIGNALLED or code == -signal.SIGKILL or not report.decision
            if self._bell.is_stopping and code != ExitCode.DONE and is_cut_short:
                self._forget(look, state)
                self._say("the look was stopped; the next one goes on where it was")
                return STOPPED
        except BaseException:
            # Nobody would know of it, and it would hold the workspace.
            child.stop(self._setup.grace_s)
            raise
        self._finish(look, report, state)
        return report.exit_code

    def _finish(self, look: Look, report: Report, state: State) -> None:
        """Makes the look one that has been: what it was for is answered."""
        self._on_report(report, look, state.last)
        ended = replace(
            look,
            ended=self._clock.now(),
            exit_code=report.exit_code,
            headline=report.headline,
        )
        covered = max(look.started, state.covered or look.started)
        self._file.write(State(covered, None, ended))
        (self._setup.folder / look.output).unlink(missing_ok=True)
        self._say(f"looked: {report.headline} (exit code {report.exit_code})")
        self._remind(report)

    def _remind(self, report: Report) -> None:
        """What holds a run back may be gone by time alone: no change of the data tells of it."""
        if self._setup.again_s is None:
            return
        is_waiting = report.decision.get("action") == "wait"
        if is_waiting or report.exit_code == ExitCode.INFRASTRUCTURE:
            why = "the last look had to wait" if is_waiting else "the last look failed"
            later = self._clock.now() + datetime.timedelta(seconds=self._setup.again_s)
            self._wishes.remind(later, why)

    def _forget(self, look: Look, state: State) -> None:
        """Takes back that a look goes on; what it was for is due again."""
        self._file.write(replace(state, current=None))
        (self._setup.folder / look.output).unlink(missing_ok=True)
