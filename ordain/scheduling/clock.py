"""What time it is, and how to wait for it: a source of time and a bell that ends a wait early.

Both are handed to whoever needs them, so that a test lets a year go by in a minute.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import select
import signal
from collections.abc import Iterator


class Bell:
    """Ends a wait early: rung by a signal, by a thread, or to stop for good.

    It is a pipe and not a `threading.Event`: a signal handler that sets an event while the main
    thread is about to wait for it would wait for itself.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self.is_stopping = False

    def ring(self) -> None:
        """Ends the wait that is going on, or the next one."""
        # A full pipe is a bell that was rung and not heard yet.
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"\0")

    def stop(self) -> None:
        """Asks whoever waits to come to an end."""
        self.is_stopping = True
        self.ring()

    def wait(self, seconds: float) -> None:
        """Waits until the time is over or the bell rings."""
        select.select([self._reader], [], [], max(0.0, seconds))
        with contextlib.suppress(BlockingIOError):
            while os.read(self._reader, 4096):
                pass

    @contextlib.contextmanager
    def rung_by_signals(self) -> Iterator[None]:
        """Stops on SIGTERM and SIGINT; the handlers of before are put back at the end."""
        wanted = (signal.SIGTERM, signal.SIGINT)
        before = {sign: signal.signal(sign, lambda *_: self.stop()) for sign in wanted}
        try:
            yield
        finally:
            for sign, handler in before.items():
                signal.signal(sign, handler)


class Clock:
    """The machine's clock."""

    def now(self) -> datetime.datetime:
        """The time in UTC."""
        return datetime.datetime.now(datetime.UTC)

    def wait(self, bell: Bell, duration: datetime.timedelta) -> None:
        """Waits for a span of this clock's time, or for the bell."""
        bell.wait(duration.total_seconds())
