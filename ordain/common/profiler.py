"""A flame graph of a run, sampled by py-spy.

py-spy is a separate process that reads this one's memory: it samples every Python thread, those of
Beam and of thread pools included, and the Python processes that a node starts. Only threads on a
processor count, not those that wait. C++ code counts for the Python function that called it;
TensorFlow's own threads are not sampled.

Root is not needed if the kernel lets a child read its parent, which Yama allows on request. If a
seccomp filter forbids `process_vm_readv`, there is no graph: that is reported, and the run goes on.
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
#: Samples per second: enough for a node of 100 ms, for a tenth of a processor.
RATE_HZ = 50
#: Seconds in which py-spy has to write its file.
_STOP_S = 60.0
#: prctl(2): the process that Yama lets read this one.
_PR_SET_PTRACER = 0x59616D61
_COUNTS = re.compile(r"Samples: (\d+) Errors: (\d+)")


@dataclass(frozen=True)
class Profile:
    """Result of profiling a run.

    Attributes:
        file: Path of the flame graph; None if there is none.
        rate_hz: Samples per second.
        samples: Samples taken, over all threads.
        errors: Samples lost because memory changed while it was read.
        cpu_s: Processor time of py-spy.
        note: Reason that there is no graph; empty if there is one.
    """

    file: str | None
    rate_hz: int
    samples: int
    errors: int
    cpu_s: float
    note: str = ""

    @property
    def text(self) -> str:
        """One line for the terminal."""
        return f"flame graph: {self.file}" if self.file else f"no flame graph: {self.note}"


class Profiler:
    """Samples this process while entered; `profile` has the result afterwards."""

    def __init__(self, file: Path, rate_hz: int = RATE_HZ) -> None:
        """Does not start yet.

        Args:
            file: Path of the flame graph to write.
            rate_hz: Samples per second.
        """
        self._file = file
        self._rate_hz = rate_hz
        self._child: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self.profile = Profile(None, rate_hz, 0, 0, 0.0, "nothing was sampled")

    def __enter__(self) -> Profiler:
        """Starts py-spy; the run goes on if that is not possible."""
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
        self._output = tempfile.TemporaryFile()
        # The child waits for a line until Yama has its process id.
        self._child = subprocess.Popen(  # noqa: S603  fixed arguments, no user input
            ["/bin/sh", "-c", 'read _; exec "$@"', "sh", *command],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C goes to the run alone, which stops py-spy
        )
        _allow_reading(self._child.pid)
        if self._child.stdin is not None:
            with contextlib.suppress(OSError):  # it has ended already; __exit__ reports why
                self._child.stdin.write(b"\n")
                self._child.stdin.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops py-spy, which then writes its file."""
        if self._child is None or self._output is None:
            return
        # Not with Popen, which would reap the child, and lose its resource usage.
        os.kill(self._child.pid, signal.SIGINT)
        watch = _killed_after(self._child.pid)
        _, status, usage = os.wait4(self._child.pid, 0)
        watch.cancel()
        self._child.returncode = os.waitstatus_to_exitcode(status)
        _allow_reading(0)
        with self._output:
            self._output.seek(0)
            output = self._output.read().decode("utf-8", "replace")
        cpu_s = round(usage.ru_utime + usage.ru_stime, 3)
        counts = _COUNTS.search(output)
        if self._child.returncode != 0 or counts is None or not self._file.is_file():
            lines = [line.strip() for line in output.splitlines() if line.strip()]
            why = lines[-1] if lines else f"py-spy exited with code {self._child.returncode}"
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
    """Lets a process read this one, if the kernel has Yama; 0 for none."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, pid, 0, 0, 0)
