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
    """Ends the TensorFlow functions of one call."""

    def __init__(self) -> None:
        self._manager = cancellation.CancellationManager()

    def cancel(self) -> None:
        """Asks the functions to end; may be called from any thread, and more than once."""
        self._manager.start_cancel()

    @contextlib.contextmanager
    def cancellable(self) -> Iterator[None]:
        """Has TensorFlow functions that this thread calls end when this is cancelled."""
        _current.manager = self._manager
        try:
            yield
        finally:
            _current.manager = None


def _of_this_thread() -> cancellation.CancellationManager | None:
    return getattr(_current, "manager", None)


# TensorFlow 2.21 keeps the manager in a variable of the process: two calls at a time would cancel
# each other.
cancellation.context = _of_this_thread
