"""A process that is not trusted: its memory watched, its output read, its end certain."""

from __future__ import annotations

import contextlib
import threading
from typing import IO

import psutil

#: Seconds between two looks at a process' memory: long enough to be cheap, short beside the time
#: it takes to fill gigabytes.
WATCH_S = 0.05


class MemoryWatch:
    """Looks at a process' memory, and kills it when it takes too much.

    RLIMIT_AS would count address space, of which TensorFlow reserves many times what it uses.

    Attributes:
        peak_bytes: Most resident memory seen.
        is_exceeded: Whether the process was killed for it.
    """

    def __init__(self, pid: int, limit_bytes: int) -> None:
        """Takes the process and the most it may take with all it starts."""
        self._pid, self._limit = pid, limit_bytes
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.peak_bytes = 0
        self.is_exceeded = False

    def __enter__(self) -> MemoryWatch:
        """Starts watching."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops watching."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(WATCH_S):
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(self._pid)
                taken = process.memory_info().rss
                for child in process.children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        taken += child.memory_info().rss
                self.peak_bytes = max(self.peak_bytes, taken)
                if taken > self._limit:
                    self.is_exceeded = True
                    kill_tree(self._pid)
                    return


class Lines:
    """What a process has written so far; a thread reads, as reading cannot be given a time."""

    def __init__(self, stream: IO[str]) -> None:
        """Starts reading a stream, until it ends."""
        self._lines: list[str] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._fill, args=(stream,), daemon=True).start()

    def _fill(self, stream: IO[str]) -> None:
        for line in stream:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()

    def next(self, timeout_s: float) -> str | None:
        """The next line; None if there was none in time."""
        with self._changed:
            if not self._lines:
                self._changed.wait(timeout_s)
            return self._lines.pop(0) if self._lines else None


def kill_tree(pid: int) -> None:
    """Ends a process and everything it started; does nothing for one that is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
