"""A scheduler with everything around it: signals, the watch, notifications, its sign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ordain.common.cron import Cron, show_time
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.notifications.delivery import check, describe
from ordain.notifications.events import notices_of, without_repeats
from ordain.notifications.outbox import Outbox, Postman
from ordain.retraining.report import Report
from ordain.scheduling.clock import Bell, Clock
from ordain.scheduling.scheduler import Scheduler, Setup
from ordain.scheduling.state import Look
from ordain.scheduling.status import folder_of, outbox_of, sign_in
from ordain.scheduling.watcher import Watcher

#: Seconds a command that starts and ends gives the notices of its look; the rest waits on disk.
ONCE_PATIENCE_S = 30.0
#: Seconds a stopping scheduler gives the notice that is being sent.
_STOP_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Service:
    """What `ordain schedule` was asked for.

    Attributes:
        project: The project.
        command: The command of a look.
        cron: When to look, or None.
        timezone: The zone of the cron expression, and of the times that are told.
        watch: Whether to look when the data changes.
    """

    project: Project
    command: tuple[str, ...]
    cron: str | None
    timezone: str
    watch: bool

    def check(self) -> None:
        """Checks what can be checked before the first look.

        Raises:
            ConfigError: Nothing says when to look, the data folder is not there, or a target of
                a notification cannot be reached for want of a variable.
        """
        if self.cron is None and not self.watch:
            raise ConfigError(
                f"nothing says when to look at {self.project.name}: neither a cron expression "
                "nor a watch",
                "--cron '0 3 * * *', --watch, or the keys of schedule: (docs/scheduling.md)",
            )
        if self.watch and not self.project.data.path.is_dir():
            raise ConfigError(
                f"--watch: there is no folder {self.project.data.path}", "correct data.path"
            )
        for target in self.project.notify:
            check(target)

    def run(self, say: Callable[[str], None], clock: Clock | None = None) -> None:
        """Schedules until SIGTERM or SIGINT.

        Args:
            say: Is told what happens, in lines.
            clock: The source of time.

        Raises:
            ConfigError: As `check`.
            InfrastructureError: The workspace cannot be written.
        """
        self.check()
        clock = clock or Clock()
        bell = Bell()
        outbox = outbox_of(self.project, say)
        postman = Postman(outbox, say)
        scheduler = Scheduler(self._setup, clock, bell, say, self._teller(outbox, say, postman))
        watcher = None
        if self.watch:
            data, schedule = self.project.data, self.project.schedule
            own = [self.project.workspace]
            watcher = Watcher(data.path, own, schedule.poll, scheduler.changed, say)
        with bell.rung_by_signals():
            sign = sign_in(self.project, self.cron, self.timezone, self.watch)
            try:
                self._say_hello(say, clock)
                postman.start()
                if watcher is not None:
                    watcher.start()
                scheduler.run(look_at_start=self.watch)
            finally:
                sign.unlink(missing_ok=True)
                if watcher is not None:
                    watcher.end()
                postman.end(_STOP_PATIENCE_S)

    def look_once(self, say: Callable[[str], None]) -> int:
        """Looks once and ends; returns the look's exit code.

        Args:
            say: Is told what happens, in lines.
        """
        for target in self.project.notify:
            check(target)
        bell = Bell()
        outbox = outbox_of(self.project, say)
        scheduler = Scheduler(self._setup, Clock(), bell, say, self._teller(outbox, say, None))
        with bell.rung_by_signals():
            code = scheduler.look_once("asked for")
        if not bell.is_stopping:
            outbox.deliver_within(ONCE_PATIENCE_S)
        return code

    @property
    def _setup(self) -> Setup:
        schedule = self.project.schedule
        return Setup(
            folder=folder_of(self.project),
            command=self.command,
            cron=None if self.cron is None else Cron(self.cron, self.timezone),
            timezone=self.timezone,
            missed=schedule.missed,
            settle_s=schedule.settle_s,
            again_s=schedule.again_s if self.watch else None,
            grace_s=schedule.grace_s,
        )

    def _teller(
        self, outbox: Outbox, say: Callable[[str], None], postman: Postman | None
    ) -> Callable[[Report, Look, Look | None], None]:
        def tell(report: Report, look: Look, before: Look | None) -> None:
            notices = notices_of(self.project.name, report, look.started)
            known = None if before is None else (before.exit_code, before.headline)
            fresh = without_repeats(notices, report, known)
            if len(fresh) < len(notices):
                say("not told again: the look before came to the same")
            if outbox.add(fresh) and postman is not None:
                postman.call()

        return tell

    def _say_hello(self, say: Callable[[str], None], clock: Clock) -> None:
        if self.cron is not None:
            tick = Cron(self.cron, self.timezone).next_after(clock.now())
            say(
                f"{self.project.name}: cron {self.cron!r} in {self.timezone}; "
                f"next tick {show_time(tick, self.timezone)}"
            )
        if self.watch:
            say(f"{self.project.name}: watching {self.project.data.path}")
        for target in self.project.notify:
            say(f"{self.project.name}: {', '.join(target.on)} is told to {describe(target)}")
