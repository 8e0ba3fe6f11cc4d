"""The command that a scheduler starts: how it is started, stopped, and what it says.

Its standard output goes to a file and not through a pipe. A scheduler that is killed leaves the
command running, and the next one reads from the file what came of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from contracts.errors import ConfigError


@dataclass(frozen=True)
class Report:
    """What `ordain retrain --json` said.

    Attributes:
        exit_code: What it ended with.
        decision: `action`, `reasons` and more; empty if it ended before it decided.
        runs: The `result.json` of each run, oldest first.
        error: What ended it beside a run's own failure; empty if nothing did.
    """

    exit_code: int
    decision: dict[str, Any]
    runs: tuple[dict[str, Any], ...] = ()
    error: str = ""

    @property
    def headline(self) -> str:
        """What came of it, in one line."""
        parts = [str(run.get("headline", "a run")) for run in self.runs]
        parts += [self.error] if self.error else []
        if parts:
            return "; ".join(parts)
        reasons = self.decision.get("reasons")
        if isinstance(reasons, list) and reasons:
            first, action = describe_reason(reasons[0]), str(self.decision.get("action", ""))
            return first if first.startswith(action) else f"{action}: {first}"
        if self.decision.get("action"):
            return str(self.decision["action"])
        return f"ended with exit code {self.exit_code} before it decided anything"


def describe_reason(reason: Mapping[str, Any]) -> str:
    """A reason of a decision in words; its kind where an older line has no text."""
    return str(reason.get("text") or reason.get("kind"))


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


def read_report(output: Path, exit_code: int) -> Report:
    """What a command left in its output file, whole or not.

    Args:
        output: The file.
        exit_code: What the process ended with; below 0 is a signal.
    """
    ours = 128 - exit_code if exit_code < 0 else exit_code
    raw = _read(output)
    if raw is None:
        return Report(ours, {})
    decision, runs, error = raw.get("decision"), raw.get("runs"), raw.get("error")
    return Report(
        ours,
        decision if isinstance(decision, dict) else {},
        tuple(run for run in runs if isinstance(run, dict)) if isinstance(runs, list) else (),
        str(error.get("message", "")) if isinstance(error, dict) else "",
    )


def find_report(output: Path) -> Report | None:
    """What a command left that nobody saw end; None if it left no whole document.

    The document is the last thing it writes, and holds the exit code.
    """
    raw = _read(output)
    if raw is None or not isinstance(raw.get("exit_code"), int):
        return None
    return read_report(output, raw["exit_code"])


def _read(output: Path) -> dict[str, Any] | None:
    try:
        raw = json.loads(output.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return raw if isinstance(raw, dict) else None
