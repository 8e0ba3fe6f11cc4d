"""Scheduler of a project with signals, the watch, notifications and registration."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from ordain.common.cron import Cron, show_time
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.notifications.delivery import check_target, describe
from ordain.notifications.events import is_repeated, notices_of
from ordain.notifications.outbox import DeliveryThread, Outbox
from ordain.retraining.report import Report
from ordain.scheduling.clock import Clock, InterruptibleWait
from ordain.scheduling.scheduler import Scheduler, Setup
from ordain.scheduling.state import Check
from ordain.scheduling.status import folder_of, outbox_of, registered
from ordain.scheduling.watcher import Watcher

#: Seconds that `--once` gives to notifications; the rest stays in the outbox.
ONCE_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Service:
    """Settings of `ordain schedule`.

    Attributes:
        project: The project.
        command: The command of a check.
        cron: When to check, or None.
        timezone: Time zone of the cron expression and of printed times.
        watch: Whether to check when the data changes.
    """

    project: Project
    command: tuple[str, ...]
    cron: str | None
    timezone: str
    watch: bool

    def run(self, log: Callable[[str], None], clock: Clock | None = None) -> None:
        """Runs the scheduler until SIGTERM or SIGINT.

        Args:
            log: Receives a line for each event.
            clock: The source of time.

        Raises:
            ConfigError: There is neither a cron expression nor a watch, the data folder is
                missing, or the target of a notification refers to a variable that is not set.
            InfrastructureError: The workspace cannot be read or written.
        """
        self._validate()
        clock = clock or Clock()
        waiter = InterruptibleWait()
        outbox = outbox_of(self.project, log)
        delivery = DeliveryThread(outbox, log)
        scheduler = self._scheduler(clock, waiter, log, outbox, delivery)
        with contextlib.ExitStack() as stack:
            stack.enter_context(waiter.stopped_by_signals())
            stack.enter_context(registered(self.project, self.cron, self.timezone, self.watch))
            self._log_start(log, clock)
            delivery.start()
            stack.callback(delivery.end)
            if self.watch:
                data, poll = self.project.data.path, self.project.schedule.poll
                own = [self.project.workspace]
                watcher = Watcher(data, own, poll, scheduler.data_changed, log)
                watcher.start()
                stack.callback(watcher.end)
            scheduler.run(check_at_start=self.watch)

    def check_once(self, log: Callable[[str], None]) -> int:
        """Checks once and sends notifications; returns the exit code of the check.

        Args:
            log: Receives a line for each event.
        """
        for target in self.project.notify:
            check_target(target)
        waiter = InterruptibleWait()
        outbox = outbox_of(self.project, log)
        with waiter.stopped_by_signals():
            code = self._scheduler(Clock(), waiter, log, outbox).check_once("requested")
        if not waiter.is_stopping:
            outbox.deliver_within(ONCE_PATIENCE_S)
        return code

    def _validate(self) -> None:
        name, data = self.project.name, self.project.data.path
        if self.cron is None and not self.watch:
            raise ConfigError(
                f"{name} has no schedule: neither a cron expression nor a watch",
                "--cron '0 3 * * *', --watch, or the keys of schedule: (docs/scheduling.md)",
            )
        if self.watch and not data.is_dir():
            raise ConfigError(f"--watch: there is no folder {data}", "correct data.path")
        for target in self.project.notify:
            check_target(target)

    def _scheduler(
        self,
        clock: Clock,
        waiter: InterruptibleWait,
        log: Callable[[str], None],
        outbox: Outbox,
        delivery: DeliveryThread | None = None,
    ) -> Scheduler:
        schedule = self.project.schedule
        setup = Setup(
            folder=folder_of(self.project),
            command=self.command,
            cron=None if self.cron is None else Cron(self.cron, self.timezone),
            timezone=self.timezone,
            missed=schedule.missed,
            settle_s=schedule.settle_s,
            again_s=schedule.again_s if self.watch else None,
            grace_s=schedule.grace_s,
        )

        def notify(report: Report, check: Check, before: Check | None) -> None:
            notices = notices_of(self.project.name, report, check.started)
            if notices and before and is_repeated(report, before.exit_code, before.headline):
                log("no notification: the check before ended the same way")
            elif outbox.add(notices) and delivery is not None:
                delivery.wake()

        return Scheduler(setup, clock, waiter, log, notify)

    def _log_start(self, log: Callable[[str], None], clock: Clock) -> None:
        name = self.project.name
        if self.cron is not None:
            tick = show_time(Cron(self.cron, self.timezone).next_after(clock.now()), self.timezone)
            log(f"{name}: cron {self.cron!r} in {self.timezone}; next tick {tick}")
        if self.watch:
            log(f"{name}: watching {self.project.data.path}")
        for target in self.project.notify:
            log(f"{name}: notifications of {', '.join(target.on)} go to {describe(target)}")
