"""One process and all its descendants, measured from outside.

Memory is sampled: every 0.2 s the sum over the process and its descendants, as PSS, in which a page
that several processes share counts once, and as RSS, in which it counts in each of them. PSS also
shares with strangers: where another process has TensorFlow's libraries mapped, it comes out lower,
so it says something on a quiet machine only. A peak of the sum that is shorter than the interval
can be missed; `largest_rss_bytes` is kept by the kernel, but is that of a single process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_INTERVAL_S = 0.2


@dataclass(frozen=True)
class Measured:
    """What a process and its descendants took.

    Attributes:
        exit_code: As the process left it; negative for a signal.
        is_timed_out: Whether it was killed because its time was up.
        wall_s: From before it was started until it had ended, imports and interpreter included.
        cpu_s: User and system time, descendants included that it waited for.
        peak_pss_bytes: Largest sum of PSS; None where the kernel does not say.
        peak_rss_bytes: Largest sum of RSS.
        largest_rss_bytes: The kernel's own peak (VmHWM) of the largest single process. Not from
            `wait4`, whose figure begins with the memory of the process that forked.
        processes: Largest number of processes at once.
        samples: How often memory was read.
        foreign_cpu_s: CPU time of everything else on the machine meanwhile.
    """

    exit_code: int
    is_timed_out: bool
    wall_s: float
    cpu_s: float
    peak_pss_bytes: int | None
    peak_rss_bytes: int
    largest_rss_bytes: int
    processes: int
    samples: int
    foreign_cpu_s: float


def measure(
    command: Sequence[str],
    folder: Path,
    output: Path,
    errors: Path,
    *,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 3600,
) -> Measured:
    """Runs a command to its end and measures it.

    Args:
        command: Program and arguments.
        folder: Its working directory.
        output: File for its standard output.
        errors: File for its standard error.
        environment: Its variables; None for this process's own.
        timeout_s: Seconds after which it is killed, with its descendants.

    Raises:
        OSError: The program cannot be started.
    """
    own_before, all_before = _own_cpu_s(), _machine_cpu_s()
    started = time.monotonic()
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    sampler = _Sampler(process.pid, started + timeout_s)
    sampler.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - started
    finally:
        # Also on Ctrl-C: nothing of its session outlives the measurement.
        sampler.stop()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu_s = usage.ru_utime + usage.ru_stime
    own_s, all_s = _own_cpu_s() - own_before, _machine_cpu_s() - all_before
    return Measured(
        exit_code=process.returncode,
        is_timed_out=sampler.is_timed_out,
        wall_s=round(wall_s, 3),
        cpu_s=round(cpu_s, 3),
        peak_pss_bytes=sampler.peak_pss_bytes if sampler.has_pss else None,
        peak_rss_bytes=sampler.peak_rss_bytes,
        largest_rss_bytes=sampler.largest_rss_bytes,
        processes=sampler.processes,
        samples=sampler.samples,
        foreign_cpu_s=round(max(all_s - own_s - cpu_s, 0.0), 3),
    )


class _Sampler(threading.Thread):
    """Reads the memory of a process tree until told to stop, and kills it when its time is up."""

    def __init__(self, pid: int, deadline: float) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._deadline = deadline
        self._is_over = threading.Event()
        self.is_timed_out = False
        self.has_pss = True
        self.peak_pss_bytes = 0
        self.peak_rss_bytes = 0
        self.largest_rss_bytes = 0
        self.processes = 0
        self.samples = 0

    def run(self) -> None:
        try:
            root = psutil.Process(self._pid)
        except psutil.NoSuchProcess:
            return
        while True:
            self._sample(root)
            if time.monotonic() > self._deadline and not self.is_timed_out:
                self.is_timed_out = True
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGKILL)
            if self._is_over.wait(SAMPLE_INTERVAL_S):
                return

    def stop(self) -> None:
        self._is_over.set()
        self.join()

    def _sample(self, root: psutil.Process) -> None:
        pss = rss = count = 0
        try:
            tree = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in tree:
            try:
                rss += process.memory_info().rss
                pss += self._pss(process)
                self.largest_rss_bytes = max(self.largest_rss_bytes, _high_water_bytes(process.pid))
                count += 1
            except psutil.Error:
                continue  # it ended between the listing and the reading
        self.samples += 1
        self.peak_pss_bytes = max(self.peak_pss_bytes, pss)
        self.peak_rss_bytes = max(self.peak_rss_bytes, rss)
        self.processes = max(self.processes, count)

    def _pss(self, process: psutil.Process) -> int:
        if not self.has_pss:
            return 0
        try:
            return int(process.memory_full_info().pss)
        except (psutil.AccessDenied, AttributeError):
            self.has_pss = False
            return 0


def _high_water_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    sizes = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(sizes[0]) * 1024 if sizes else 0


def _own_cpu_s() -> float:
    times = os.times()
    return times.user + times.system


def _machine_cpu_s() -> float:
    """Busy seconds of all CPUs since boot."""
    times = psutil.cpu_times()
    return sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq"))
