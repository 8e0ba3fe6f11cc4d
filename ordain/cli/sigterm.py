"""SIGTERM in a run: the run ends before its next node.

The current node finishes first, because its work would be lost. A scheduler kills a run that takes
longer than the grace time, and the next run cleans up after it (`ordain.history.recovery`).
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager

from ordain.history.results import NodeResult
from ordain.runner.local import Listener


@contextlib.contextmanager
def ended_between_nodes(drawing: AbstractContextManager[Listener]) -> Iterator[Listener]:
    """Makes SIGTERM end a run between two nodes, like Ctrl-C.

    Args:
        drawing: Context of the run's display, which gives the listener to wrap.

    Yields:
        The listener for the run. After SIGTERM it raises `KeyboardInterrupt` when the next node,
        or the next span of a node, is about to start.
    """
    with drawing as listener:
        stoppable = _Stoppable(listener)
        before = signal.signal(signal.SIGTERM, stoppable.stop)
        try:
            yield stoppable
        finally:
            signal.signal(signal.SIGTERM, before)


class _Stoppable:
    """Forwards the events of a run until SIGTERM arrives."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._is_stopped = False

    def stop(self, *_: object) -> None:
        self._is_stopped = True

    def started(self, node: str, span: int | None) -> None:
        if self._is_stopped:
            raise KeyboardInterrupt
        self._listener.started(node, span)

    def finished(self, result: NodeResult) -> None:
        self._listener.finished(result)
