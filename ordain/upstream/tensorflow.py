"""TensorFlow 2.21: its state that has no public accessor, or one value for all threads.

- `has_started` reads whether TensorFlow has made its threads.
- `Cancellation` cancels functions that run in another thread. TensorFlow keeps the cancellation
  manager in a global variable, so that concurrent calls would cancel each other. It checks between
  two operations: a loop ends at once, a single long kernel does not.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from tensorflow.python.eager import cancellation, context

from ordain.upstream.replace import Scope

_scope = Scope()
_current = threading.local()


def has_started() -> bool:
    """True once TensorFlow has made its threads, after which a fork would lack them."""
    return context._context is not None and context._context._context_handle is not None


class Cancellation:
    """Cancels the TensorFlow functions that one thread calls.

    A function called within `cancellable` ends with `CancelledError` soon after its cancellation.
    """

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
            with _scope.entered({(cancellation, "context"): _of_this_thread}):
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
