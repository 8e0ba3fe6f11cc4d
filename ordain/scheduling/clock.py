"""Clock abstraction and an interruptible wait.

Both are passed in, so that a test can run through a year in a minute.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import select
import signal
from collections.abc import Iterator


class InterruptibleWait:
    """Wait that a signal handler or another thread can end early.

    It is a pipe, not a `threading.Event`: a signal handler that sets an event while the main
    thread is entering the event's `wait` would deadlock.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self.is_stopping = False

    def wake(self) -> None:
        """Ends the current wait, or the next one if there is none."""
        # A full pipe holds wake-ups that were not consumed yet.
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"\0")

    def stop(self) -> None:
        """Sets `is_stopping` and ends the wait."""
        self.is_stopping = True
        self.wake()

    def wait(self, seconds: float) -> None:
        """Blocks until the time is over or `wake` is called."""
        select.select([self._reader], [], [], max(0.0, seconds))
        with contextlib.suppress(BlockingIOError):
            while os.read(self._reader, 4096):
                pass

    @contextlib.contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """Calls `stop` on SIGTERM and SIGINT; restores the previous handlers at the end."""
        signals = (signal.SIGTERM, signal.SIGINT)
        previous = {number: signal.signal(number, lambda *_: self.stop()) for number in signals}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


class Clock:
    """The machine's clock."""

    def now(self) -> datetime.datetime:
        """Current time in UTC."""
        return datetime.datetime.now(datetime.UTC)

    def wait(self, waiter: InterruptibleWait, duration: datetime.timedelta) -> None:
        """Waits for a duration of this clock's time, or until the wait is interrupted."""
        waiter.wait(duration.total_seconds())
