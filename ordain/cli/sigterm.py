"""SIGTERM in a run that a scheduler started: the run ends before its next node.

What a node had begun would be lost, so it may end first. A scheduler kills what takes longer than
its grace time, and the next run closes what was left open (`ordain.history.recovery`).
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
    """Lets SIGTERM end a run between two nodes, as Ctrl-C would there.

    Args:
        drawing: What is entered while the chain runs.

    Yields:
        The listener to give to the run. Once SIGTERM came, it raises `KeyboardInterrupt` when the
        next node, or the next span of a node, is about to start.
    """
    with drawing as listener:
        gate = _Gate(listener)
        before = signal.signal(signal.SIGTERM, gate.close)
        try:
            yield gate
        finally:
            signal.signal(signal.SIGTERM, before)


class _Gate:
    """Hands on what a run tells, until SIGTERM came."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._is_closed = False

    def close(self, *_: object) -> None:
        self._is_closed = True

    def started(self, node: str, span: int | None) -> None:
        if self._is_closed:
            raise KeyboardInterrupt
        self._listener.started(node, span)

    def finished(self, result: NodeResult) -> None:
        self._listener.finished(result)
