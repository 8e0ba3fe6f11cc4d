"""Scheduler loop: waits for triggers and runs one check at a time.

A *check* is one start of `ordain retrain PROJECT --json`, which decides whether a retrain is due
and runs it if so. All triggers that are due are covered by the same check, because it sees
everything that was there when it started. `ordain.scheduling.state` has the rule for that.

Errors of the workspace end the scheduler; restarting it is left to the service manager, and ticks
that pass meanwhile are not lost.
"""

from __future__ import annotations

import datetime
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ordain.common.cron import Cron, show_time
from ordain.errors import ExitCode
from ordain.retraining.report import Report, find_report, read_report
from ordain.scheduling.child_process import Child, is_alive
from ordain.scheduling.clock import Clock, InterruptibleWait
from ordain.scheduling.pending import PendingTriggers, Trigger
from ordain.scheduling.state import Check, State, StateFile

#: Seconds between two polls for the end of the command, by the machine's clock.
_POLL_CHILD_S = 0.1
#: Seconds between two polls while another scheduler of the project checks.
_POLL_LOCK_S = 0.25
#: Exit code of a check that was stopped: 128 and SIGTERM's number, as in a shell.
STOPPED = 143
#: A covered time further ahead than this was written under a wrong clock.
_AHEAD = datetime.timedelta(minutes=5)
#: SIGTERM and SIGINT as exit codes, from the system and from a shell.
_SIGNALLED = (-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGINT)


@dataclass(frozen=True)
class Setup:
    """Settings of a scheduler.

    Attributes:
        folder: `<workspace>/<name>/schedule`.
        command: The command of a check.
        cron: When to check; None without a cron expression.
        timezone: Time zone of printed times.
        missed: Whether ticks that passed while no scheduler ran are made up for.
        settle_s: Seconds without a further change in the data before a check.
        again_s: Seconds until a check is repeated that found a blocker or ended with an
            infrastructure error; None if the next tick is soon enough.
        grace_s: Seconds between SIGTERM and SIGKILL when the command is stopped.
    """

    folder: Path
    command: tuple[str, ...]
    cron: Cron | None = None
    timezone: str = "UTC"
    missed: Literal["run", "skip"] = "run"
    settle_s: float = 1.0
    again_s: float | None = None
    grace_s: float = 60.0


class Scheduler:
    """One scheduler of one project."""

    def __init__(
        self,
        setup: Setup,
        clock: Clock,
        waiter: InterruptibleWait,
        log: Callable[[str], None],
        on_report: Callable[[Report, Check, Check | None], None],
    ) -> None:
        """Prepares; `run` or `check_once` starts it.

        Args:
            setup: Its settings.
            clock: The source of time.
            waiter: Interrupts its waits; `waiter.stop()` ends the scheduler.
            log: Receives a line for each event.
            on_report: Receives the report of a check, the check, and the check before. Called
                before the check counts as ended, so what it writes to disk is never lost.
        """
        self._setup = setup
        self._clock = clock
        self._waiter = waiter
        self._log = log
        self._on_report = on_report
        self._file = StateFile(setup.folder)
        self._pending = PendingTriggers(setup.cron, setup.timezone, setup.settle_s)
        self._is_wait_logged = False

    def data_changed(self) -> None:
        """Records a change of the data; may be called from any thread."""
        self._pending.add_change(self._clock.now())
        self._waiter.wake()

    def run(self, check_at_start: bool = False) -> None:
        """Checks at ticks and changes until it is stopped.

        Args:
            check_at_start: Whether to check once at the beginning: for a watch, which does not
                know what changed before it.

        Raises:
            InfrastructureError: The state cannot be read or written.
        """
        self._begin()
        if check_at_start:
            self._pending.request(self._clock.now(), "start of the watch")
        while not self._waiter.is_stopping:
            self._step()
        self._log("stopped")

    def check_once(self, why: str) -> int:
        """Checks now, or after the check in progress.

        Returns:
            The exit code of the check, which may be another scheduler's that started after this
            request; `STOPPED` if it was stopped.
        """
        self._pending.request(self._clock.now(), why)
        while not self._waiter.is_stopping:
            code = self._try_check()
            if code is not None:
                return code
            state = self._file.read()
            self._pending.drop_covered(state.covered)
            if not self._pending.is_requested and state.last is not None:
                return int(state.last.exit_code or 0)
        return STOPPED

    def _begin(self) -> bool:
        """Sets when ticks begin to count, and logs missed ones; False if another one checks."""
        now = self._clock.now()
        with self._file.try_lock() as is_locked:
            if not is_locked:
                return False
            state = self._file.read()
            if state.covered is None:
                self._file.write(replace(state, covered=now))
            elif state.covered - now > _AHEAD:
                self._log(
                    f"the last check is in the future ({state.covered}): the clock was set back; "
                    "ticks count from now"
                )
                self._file.write(replace(state, covered=now))
            elif missed := self._pending.ticks(state, now):
                is_skipped = self._setup.missed == "skip"
                action = "skipped" if is_skipped else "one check for all"
                self._log(f"missed without a scheduler: {self._pending.describe(missed)}; {action}")
                if is_skipped:
                    self._file.write(replace(state, covered=now))
            return True

    def _step(self) -> None:
        """Runs the check that is due, or waits until one may be."""
        now = self._clock.now()
        state = self._file.read()
        if state.covered is None or state.covered - now > _AHEAD:
            if not self._begin():
                self._waiter.wait(_POLL_LOCK_S)
        elif self._pending.due(state, now) is None:
            self._clock.wait(self._waiter, self._pending.pause(state, now))
        else:
            self._try_check()

    def _try_check(self) -> int | None:
        """Checks unless another scheduler does; returns the exit code, or None without a check."""
        with self._file.try_lock() as is_locked:
            if is_locked and self._is_free(self._file.read()):
                self._is_wait_logged = False
                state = self._file.read()
                # One reading of the clock for both: a tick between two readings would be covered
                # by this check without being named among its triggers.
                now = self._clock.now()
                trigger = self._pending.due(state, now)
                if trigger is not None:
                    return self._check(trigger, max(now, trigger.at), state)
                self._log("nothing left to check: already covered, or skipped")
                return None
        if not self._is_wait_logged:
            self._log("waiting for a check in progress")
            self._is_wait_logged = True
        self._waiter.wait(_POLL_LOCK_S)
        return None

    def _is_free(self, state: State) -> bool:
        """Tests that no check is in progress; settles one that a killed scheduler left."""
        left = state.current
        if left is None:
            return True
        if is_alive(left.pid, left.created):
            return False
        report = find_report(self._setup.folder / left.output)
        at = show_time(left.started, self._setup.timezone)
        if report is not None:
            self._log(f"the check of {at} ended without its scheduler")
            self._finish(left, report, state)
            return True
        is_repeated = self._setup.missed == "run"
        self._log(f"the check of {at} was killed; {'repeating it' if is_repeated else 'skipped'}")
        self._discard(left, state)
        if is_repeated:
            self._pending.request(self._clock.now(), f"the check of {at} was killed")
        return True

    def _check(self, trigger: Trigger, started: datetime.datetime, state: State) -> int:
        output = self._setup.folder / f"check-{started:%Y%m%dT%H%M%S%f}.json"
        self._log(f"checking: {trigger.why}")
        child = Child(self._setup.command, output)
        try:
            check = Check(started, trigger.why, child.pid, child.created, output.name)
            self._file.write(replace(state, current=check))
            while (code := child.poll()) is None and not self._waiter.is_stopping:
                self._waiter.wait(_POLL_CHILD_S)
            if code in _SIGNALLED:
                # At a shutdown all processes are signalled, and ours may get the signal later.
                self._waiter.wait(1.0)
            if code is None:
                self._log(f"stopping the check: SIGTERM, SIGKILL after {self._setup.grace_s:g} s")
                code = child.stop(self._setup.grace_s)
            report = read_report(output, code)
            is_cut_short = code in _SIGNALLED or code == -signal.SIGKILL or not report.decision
            if self._waiter.is_stopping and code != ExitCode.DONE and is_cut_short:
                self._discard(check, state)
                self._log("the check was stopped; the next one resumes its run")
                return STOPPED
        except BaseException:
            # Without a record of it, the command would keep the workspace locked.
            child.stop(self._setup.grace_s)
            raise
        self._finish(check, report, state)
        return report.exit_code

    def _finish(self, check: Check, report: Report, state: State) -> None:
        """Records a check as ended: its triggers are covered."""
        self._on_report(report, check, state.last)
        now = self._clock.now()
        ended = replace(check, ended=now, exit_code=report.exit_code, headline=report.headline)
        self._file.write(State(max(check.started, state.covered or check.started), None, ended))
        (self._setup.folder / check.output).unlink(missing_ok=True)
        self._log(f"checked: {report.headline} (exit code {report.exit_code})")
        self._pending.set_retry(self._retry(report, now))

    def _retry(self, report: Report, now: datetime.datetime) -> Trigger | None:
        """Trigger for a blocker that may pass with time alone, without a change of the data."""
        is_waiting = report.decision.get("action") == "wait"
        has_failed = report.exit_code == ExitCode.INFRASTRUCTURE
        if self._setup.again_s is None or not (is_waiting or has_failed):
            return None
        why = "the last check had to wait" if is_waiting else "the last check failed"
        return Trigger(now + datetime.timedelta(seconds=self._setup.again_s), why)

    def _discard(self, check: Check, state: State) -> None:
        """Removes a check that did not end: its triggers are due again."""
        self._file.write(replace(state, current=None))
        (self._setup.folder / check.output).unlink(missing_ok=True)
