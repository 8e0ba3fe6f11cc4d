"""The command that a scheduler starts: how it is started and stopped.

Its standard output goes to a file and not through a pipe. A scheduler that is killed leaves the
command running, and the next one reads from the file what came of it.
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
        """Starts it.

        Args:
            command: The program and its arguments.
            output: File for its standard output; standard error goes where ours goes.

        Raises:
            ConfigError: It cannot be started.
        """
        try:
            with output.open("wb") as file:
                # A session of its own: Ctrl-C reaches the scheduler alone, which passes it on once.
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
        self.born = born(self.pid) or 0.0

    def poll(self) -> int | None:
        """Its exit code, or None while it runs; below 0 is the signal that ended it."""
        return self._process.poll()

    def stop(self, grace_s: float) -> int:
        """Asks it to end, and ends it after the grace time with all it started.

        Args:
            grace_s: Seconds between SIGTERM and SIGKILL.

        Returns:
            Its exit code; below 0 is the signal that ended it.
        """
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        end = time.monotonic() + grace_s
        while self._process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()


def born(pid: int) -> float | None:
    """When a process began, in seconds since 1970; None if there is none."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.Error:
        return None


def is_alive(pid: int, began: float) -> bool:
    """Whether a process still runs, and is not a later one with the same number."""
    found = born(pid)
    # The system derives it from the clock's ticks since boot; a correction of the clock moves it.
    return found is not None and abs(found - began) < 2
