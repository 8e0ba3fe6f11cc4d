"""A flame graph of a run, sampled from outside by py-spy.

py-spy is a process of its own that reads this one's memory: it sees every thread, Beam's and
Python's thread pools among them, and the Python processes that a node starts, and nothing of it
runs in here. It counts what a thread does on a processor; who waits is not in the picture. Code
of C++ counts for the Python function that called it, and TensorFlow's own threads are not seen.

Root is not needed where the kernel lets a process be read by its own children's user: Yama is told
for the one child, and a seccomp filter that forbids `process_vm_readv` makes the graph impossible,
which is said and ends nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

FILE = "flamegraph.svg"
PROGRAM = "py-spy"
#: Samples in a second: a node of 100 ms is seen, and py-spy itself takes a tenth of a processor.
RATE_HZ = 50
#: Seconds for py-spy to write its file.
_STOP_S = 60.0
#: prctl(2): Yama lets the process that is named read this one.
_PR_SET_PTRACER = 0x59616D61
_COUNTS = re.compile(r"Samples: (\d+) Errors: (\d+)")


@dataclass(frozen=True)
class Profile:
    """What profiling a run came to.

    Attributes:
        file: The flame graph; None if there is none.
        rate_hz: Samples in a second.
        samples: Samples that were taken, over all threads.
        errors: Samples that were lost because memory changed while it was read.
        cpu_s: Processor time that py-spy took beside the run.
        note: Why there is no graph; empty if there is one.
    """

    file: str | None
    rate_hz: int
    samples: int
    errors: int
    cpu_s: float
    note: str = ""

    @property
    def text(self) -> str:
        """A line for the console."""
        return f"flame graph: {self.file}" if self.file else f"no flame graph: {self.note}"


class Profiler:
    """Samples this process while it is entered; `profile` holds what came of it."""

    def __init__(self, file: Path, rate_hz: int = RATE_HZ) -> None:
        """Starts nothing yet.

        Args:
            file: Where the flame graph goes.
            rate_hz: Samples in a second.
        """
        self._file = file
        self._rate_hz = rate_hz
        self._child: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self.profile = Profile(None, rate_hz, 0, 0, 0.0, "nothing was sampled")

    def __enter__(self) -> Profiler:
        """Starts py-spy; a run goes on where that is not possible."""
        program = shutil.which(PROGRAM, path=sysconfig.get_path("scripts"))
        if program is None:
            self.profile = self._failed(0.0, "py-spy is not installed in this environment")
            return self
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # fmt: off
        command = [
            program, "record", "--pid", str(os.getpid()), "--output", str(self._file),
            "--format", "flamegraph", "--rate", str(self._rate_hz), "--function",
            "--subprocesses", "--nonblocking",
        ]
        # fmt: on
        self._said = tempfile.TemporaryFile()
        # The child waits for a line, so that Yama knows of it before it begins to read.
        self._child = subprocess.Popen(  # noqa: S603  its own arguments, no text of a user
            ["/bin/sh", "-c", 'read _; exec "$@"', "sh", *command],
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the run; py-spy ends when the run does
        )
        _allow_reading(self._child.pid)
        if self._child.stdin is not None:
            with contextlib.suppress(OSError):  # it has ended already, and __exit__ says why
                self._child.stdin.write(b"\n")
                self._child.stdin.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends py-spy, which then writes its file."""
        if self._child is None or self._said is None:
            return
        # Not by Popen, which would reap a child that has ended, and with it what it took.
        os.kill(self._child.pid, signal.SIGINT)
        watch = _killed_after(self._child.pid)
        _, status, usage = os.wait4(self._child.pid, 0)
        watch.cancel()
        self._child.returncode = os.waitstatus_to_exitcode(status)
        _allow_reading(0)
        with self._said:
            self._said.seek(0)
            said = self._said.read().decode("utf-8", "replace")
        cpu_s = round(usage.ru_utime + usage.ru_stime, 3)
        counts = _COUNTS.search(said)
        if self._child.returncode != 0 or counts is None or not self._file.is_file():
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            why = lines[-1] if lines else f"py-spy ended with {self._child.returncode}"
            self.profile = self._failed(cpu_s, why.removeprefix("py-spy> "))
            return
        samples, errors = map(int, counts.groups())
        self.profile = Profile(str(self._file), self._rate_hz, samples, errors, cpu_s)

    def _failed(self, cpu_s: float, note: str) -> Profile:
        return Profile(None, self._rate_hz, 0, 0, cpu_s, note)


def _killed_after(pid: int) -> threading.Timer:
    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    watch = threading.Timer(_STOP_S, kill)
    watch.daemon = True
    watch.start()
    return watch


def _allow_reading(pid: int) -> None:
    """Tells Yama who may read this process; 0 for nobody. Without Yama nothing happens."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, pid, 0, 0, 0)
