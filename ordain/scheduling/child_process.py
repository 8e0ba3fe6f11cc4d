"""Child process of the scheduler: starts and stops the command of a check.

Its standard output goes to a file, not through a pipe. If the scheduler is killed, the command
continues, and the next scheduler reads the result from the file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from ordain.errors import ConfigError


class Child:
    """A command in a session of its own."""

    def __init__(self, command: Sequence[str], output: Path) -> None:
        """Starts the command.

        Args:
            command: The program and its arguments.
            output: File for its standard output; standard error is inherited.

        Raises:
            ConfigError: It cannot be started.
        """
        try:
            with output.open("wb") as file:
                # A session of its own: Ctrl-C reaches only the scheduler, which passes it on once.
                self._process = subprocess.Popen(  # noqa: S603  the command is the caller's own
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    start_new_session=True,
                )
        except OSError as error:
            raise ConfigError(
                f"{command[0]} cannot be started: {error}", "ordain doctor PROJECT"
            ) from error
        self.pid = self._process.pid
        self.created = process_created(self.pid) or 0.0

    def poll(self) -> int | None:
        """Exit code, or None while the command runs; negative for the signal that ended it."""
        return self._process.poll()

    def stop(self, grace_s: float) -> int:
        """Sends SIGTERM, then kills the command and everything it started.

        Args:
            grace_s: Seconds between SIGTERM and SIGKILL.

        Returns:
            Its exit code; negative for the signal that ended it.
        """
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        end = time.monotonic() + grace_s
        while self._process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()


def process_created(pid: int) -> float | None:
    """Creation time of a process, in seconds since 1970; None if it does not run."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.Error:
        return None


def is_alive(pid: int, created: float) -> bool:
    """Tests that a process still runs, and that its pid was not reused by a later one."""
    found = process_created(pid)
    # Derived from clock ticks since boot, so a correction of the system clock shifts it.
    return found is not None and abs(found - created) < 2
