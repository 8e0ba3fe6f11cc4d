"""Processes of ordain that need not import: forked from one that has TensorFlow and TFX.

    warm_processes.py

The imports are most of a run of the small project, and a scheduler starts one run after the other.
Each line of standard input is a JSON object, and each is answered by a number:

- `{"ordain": [WORD...], "output": FILE}` runs a command to its end: its exit code;
- `{"project": FOLDER, "schedule": {...}, "output": FILE}` starts a scheduler, which is told what
  `scheduler_process.py` is told: its process;
- `{"stop": PROCESS}` ends a scheduler by SIGTERM: its exit code, below 0 for a signal.

A scheduler forks its checks in turn. All else is real: a check is a process in a session of its
own, can be killed as one, and runs the same command.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

from scheduler_process import schedule

from ordain.common.process_exit import exit_process
from ordain.scheduling import child_process


def fork(what: Callable[[], None], output: int, is_session: bool = False) -> int:
    """Starts a process that does something and ends; returns its number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if is_session:
            os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        # Another thread may have held the lock of the old ones when this process was forked.
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        what()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        exit_process(code)


def run_ordain(words: Sequence[str]) -> None:
    """What the command `ordain` does with these words."""
    from ordain.cli.main import main

    sys.argv = ["ordain", *words]
    main()


class Forked:
    """Takes the place of `subprocess.Popen` in a scheduler."""

    def __init__(self, command: list[str], stdin: Any, stdout: Any, start_new_session: bool):
        del stdin
        words = command[1:]
        self.pid = fork(lambda: run_ordain(words), stdout.fileno(), start_new_session)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        return self._wait(0)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, options)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def start(asked: dict[str, Any]) -> int:
    """Starts a command or a scheduler; returns its number."""
    output = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def work() -> None:
        os.dup2(output, 2)
        if "ordain" in asked:
            run_ordain(asked["ordain"])
        else:
            child_process.subprocess = types.SimpleNamespace(
                Popen=Forked, DEVNULL=subprocess.DEVNULL
            )
            schedule(asked["project"], asked["schedule"])

    try:
        return fork(work, output)
    finally:
        os.close(output)


def answer(asked: dict[str, Any]) -> int:
    """Does what a line asks for."""
    if "stop" in asked:
        os.kill(asked["stop"], signal.SIGTERM)
        return os.waitstatus_to_exitcode(os.waitpid(asked["stop"], 0)[1])
    pid = start(asked)
    return pid if "schedule" in asked else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    from ordain.pipeline.ir_cache import load_graph

    load_graph()
    for line in sys.stdin:
        print(answer(json.loads(line)), flush=True)
