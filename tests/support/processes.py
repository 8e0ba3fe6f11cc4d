"""Schedulers and commands in processes of their own: with their imports, or forked without."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = Path(__file__).resolve().parent
ORDAIN = Path(sys.executable).with_name("ordain")


class Processes(Protocol):
    """What starts and ends them."""

    def schedule(self, project: Path, told: dict[str, Any], log: Path) -> int:
        """Starts a scheduler; returns its process."""

    def stop(self, pid: int) -> int:
        """Ends a scheduler by SIGTERM; returns its exit code."""

    def run(self, words: Sequence[str], log: Path) -> int:
        """Runs a command of `ordain` to its end; returns its exit code."""

    def close(self) -> None:
        """Ends all that was started."""


class Whole:
    """As a user starts them."""

    def __init__(self) -> None:
        self._started: dict[int, subprocess.Popen[bytes]] = {}

    def schedule(self, project: Path, told: dict[str, Any], log: Path) -> int:
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, SUPPORT / "scheduler_process.py", project, json.dumps(told)],
                stdout=file,
                stderr=file,
                env=_environment(),
            )
        self._started[process.pid] = process
        return process.pid

    def stop(self, pid: int) -> int:
        process = self._started.pop(pid)
        process.send_signal(signal.SIGTERM)
        return process.wait()

    def run(self, words: Sequence[str], log: Path) -> int:
        with log.open("ab") as file:
            return subprocess.call([ORDAIN, *words], stdout=file, stderr=file)

    def close(self) -> None:
        for process in self._started.values():
            process.kill()
            process.wait()


class Warm:
    """Forked from one process that has imported everything (`warm_processes.py`)."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, SUPPORT / "warm_processes.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(),
        )
        self._schedulers: set[int] = set()

    def schedule(self, project: Path, told: dict[str, Any], log: Path) -> int:
        pid = self._ask(project=str(project), schedule=told, output=str(log))
        self._schedulers.add(pid)
        return pid

    def stop(self, pid: int) -> int:
        self._schedulers.remove(pid)
        return self._ask(stop=pid)

    def run(self, words: Sequence[str], log: Path) -> int:
        return self._ask(ordain=list(words), output=str(log))

    def close(self) -> None:
        for pid in self._schedulers:
            # Its parent has not asked for its exit code: the number is still its own.
            os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.communicate()

    def _ask(self, **asked: Any) -> int:
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(SUPPORT)))}
