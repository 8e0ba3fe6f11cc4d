"""Cancellation of TensorFlow functions that run in another thread.

A function that was called under `cancellable` ends with `CancelledError` soon after its
cancellation: TensorFlow looks between two operations, so that a loop ends at once and a single
long kernel does not.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from tensorflow.python.eager import cancellation

_current = threading.local()


class Cancellation:
    """Ends the TensorFlow functions of one thread's work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._manager: cancellation.CancellationManager | None = None

    def cancel(self) -> None:
        """Asks the functions to end, now and later; may be called from any thread."""
        with self._lock:
            self._is_cancelled = True
            if self._manager is not None:
                self._manager.start_cancel()

    @contextlib.contextmanager
    def cancellable(self) -> Iterator[None]:
        """Has TensorFlow functions that this thread calls end when this is cancelled."""
        _current.cancellation = self
        try:
            yield
        finally:
            _current.cancellation = None

    def _next(self) -> cancellation.CancellationManager:
        """The manager of the next function; one that failed has cancelled its own for good."""
        with self._lock:
            self._manager = cancellation.CancellationManager()
            if self._is_cancelled:
                self._manager.start_cancel()
            return self._manager


def _of_this_thread() -> cancellation.CancellationManager | None:
    """The manager of the function that this thread is about to call; None for none."""
    current: Cancellation | None = getattr(_current, "cancellation", None)
    return None if current is None else current._next()


# TensorFlow 2.21 keeps the manager in a variable of the process: two calls at a time would cancel
# each other.
cancellation.context = _of_this_thread
