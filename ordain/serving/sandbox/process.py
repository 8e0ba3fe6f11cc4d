"""Control of an untrusted process: watches its memory, reads its output, ends it."""

from __future__ import annotations

import contextlib
import threading
from typing import IO

import psutil

#: Seconds between two checks of a process's memory; filling gigabytes takes longer.
WATCH_S = 0.05


class MemoryWatch:
    """Watches a process's memory, and kills it above a limit.

    RLIMIT_AS would limit address space, of which TensorFlow reserves many times what it uses.

    Attributes:
        peak_bytes: Highest resident memory seen.
        is_exceeded: Whether the process was killed for its memory.
    """

    def __init__(self, pid: int, limit_bytes: int) -> None:
        """Sets the process, and the limit for it and its children."""
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
    """Lines of a process's output, read by a thread, because reads have no timeout."""

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
        """The next line; None after the timeout."""
        with self._changed:
            if not self._lines:
                self._changed.wait(timeout_s)
            return self._lines.pop(0) if self._lines else None


def kill_tree(pid: int) -> None:
    """Kills a process and its children; does nothing if it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
