"""Cancellation of TensorFlow functions that run in another thread.

A function called within `cancellable` ends with `CancelledError` soon after its cancellation.
TensorFlow checks between two operations, so a loop ends at once and a single long kernel does not.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from tensorflow.python.eager import cancellation

_current = threading.local()


class Cancellation:
    """Cancels the TensorFlow functions that one thread calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._manager: cancellation.CancellationManager | None = None

    def cancel(self) -> None:
        """Cancels the running function and all later ones; thread-safe."""
        with self._lock:
            self._is_cancelled = True
            if self._manager is not None:
                self._manager.start_cancel()

    @contextlib.contextmanager
    def cancellable(self) -> Iterator[None]:
        """Makes the TensorFlow functions that this thread calls cancellable."""
        _current.cancellation = self
        try:
            yield
        finally:
            _current.cancellation = None

    def _next(self) -> cancellation.CancellationManager:
        """The manager of the next function; a failed function leaves its own cancelled."""
        with self._lock:
            self._manager = cancellation.CancellationManager()
            if self._is_cancelled:
                self._manager.start_cancel()
            return self._manager


def _of_this_thread() -> cancellation.CancellationManager | None:
    """The cancellation manager of this thread's next function, or None."""
    current: Cancellation | None = getattr(_current, "cancellation", None)
    return None if current is None else current._next()


# TensorFlow 2.21 keeps the manager in a global variable: concurrent calls would cancel each other.
cancellation.context = _of_this_thread
