"""A second process for pieces of work, so that a node uses a second core.

The pieces hold Python's lock for much of their time (TFDV's and TFT's accumulators are Python), so
that threads do not help. The helper is forked before TensorFlow has made its first thread, from a
process that has everything imported: it starts in milliseconds and shares that memory. A piece
goes to whoever is free, this process included.

There is none where there is a single processor, or where TensorFlow's threads run already, as
after another node in the same process; the work is then done here, one piece after the other.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.internal import pickler
from tensorflow.python.eager import context as tf_context

from ordain.errors import NodeFailedError

_PR_SET_PDEATHSIG = 1
_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
_log = logging.getLogger(__name__)
_pool: ProcessPoolExecutor | None = None
#: In the helper: the DoFn of the last piece, and what it was pickled to.
_known: tuple[bytes, beam.DoFn] | None = None


def start() -> None:
    """Starts the helper, if there is none and there can be one.

    Has to be called before TensorFlow's first operation in this process, by its main thread.
    """
    global _pool  # noqa: PLW0603  one for each process
    if _pool is None and _can_fork():
        _pool = ProcessPoolExecutor(1, multiprocessing.get_context("fork"), _settle, (os.getpid(),))
        _pool.submit(os.getpid).result()


def stop() -> None:
    """Ends the helper and gives its memory back; without one it does nothing."""
    global _pool  # noqa: PLW0603  one for each process
    if _pool is not None:
        _pool.shutdown()
        _pool = None


def is_there() -> bool:
    """Whether there is a helper."""
    return _pool is not None


def run(dofn: beam.DoFn, elements: Sequence[Any]) -> list[Any]:
    """What a DoFn yields for each element, in the order of the elements.

    Args:
        dofn: Keeps nothing between elements but what `setup` makes.
        elements: Can be pickled, as what is yielded can.

    Raises:
        NodeFailedError: The helper was killed.
        Exception: What the DoFn raised, here or in the helper. No further piece is begun then.
    """
    work = _Work(dofn, elements)
    if _pool is None or len(elements) < 2:
        work.do_here()
        return work.results()
    giver = threading.Thread(target=work.give, args=(_pool, pickler.dumps(dofn)), daemon=True)
    giver.start()
    try:
        work.do_here()
    finally:
        work.waiting.clear()
        giver.join()
    return work.results()


class _Work:
    """Pieces that are waiting, and what came of the others."""

    def __init__(self, dofn: beam.DoFn, elements: Iterable[Any]) -> None:
        self.waiting = deque(enumerate(elements))
        self._dofn = dofn
        self._done: dict[int, list[Any]] = {}
        self._failure: BaseException | None = None

    def do_here(self) -> None:
        """Does pieces in this process until none is waiting."""
        is_set_up = False
        while (piece := self._next()) is not None:
            if not is_set_up:
                self._dofn.setup()
                is_set_up = True
            number, element = piece
            self._done[number] = list(self._dofn.process(element))

    def give(self, pool: ProcessPoolExecutor, pickled: bytes) -> None:
        """Gives pieces to the helper until none is waiting."""
        log = _log_file()
        try:
            while (piece := self._next()) is not None:
                number, element = piece
                self._done[number] = pool.submit(_do, pickled, element, log).result()
        except BaseException as error:
            self._failure = error
            self.waiting.clear()

    def results(self) -> list[Any]:
        """What was yielded, or the helper's error."""
        if isinstance(self._failure, BrokenProcessPool):
            stop()
            raise NodeFailedError(
                "the helper process was killed, perhaps for want of memory",
                "run again: what is finished is cached",
            ) from self._failure
        if self._failure is not None:
            raise self._failure
        return [result for number in sorted(self._done) for result in self._done[number]]

    def _next(self) -> tuple[int, Any] | None:
        try:
            return self.waiting.popleft()
        except IndexError:
            return None


def _can_fork() -> bool:
    """Whether a fork is of use, and safe: TensorFlow's threads would be missing in the helper."""
    runs = tf_context._context is not None and tf_context._context._context_handle is not None
    is_main = threading.current_thread() is threading.main_thread()
    if runs or not is_main or _processors() < 2:
        _log.info("one process: TensorFlow runs already, or there is a single processor")
        return False
    return True


def _processors() -> float:
    """Processors that this process may use; a container's limit may be a fraction."""
    count = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = _CPU_LIMIT.read_text(encoding="ascii").split()
        return min(count, int(quota) / int(period))
    except (OSError, ValueError):  # no limit, or another kind of cgroup
        return count


def _log_file() -> str | None:
    """The file that this process' standard error goes to; None if it is none."""
    try:
        path = str(Path("/proc/self/fd/2").readlink())
    except OSError:
        return None
    return path if Path(path).is_file() else None


def _settle(parent: int) -> None:
    """The helper's first act: it ends with its parent, whatever ends that."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Ctrl-C reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _do(pickled: bytes, element: Any, log: str | None) -> list[Any]:
    """One piece, in the helper."""
    global _known  # noqa: PLW0603  of the helper
    if log is not None:
        _log_to(log)
    if _known is None or _known[0] != pickled:
        dofn = pickler.loads(pickled)
        dofn.setup()
        _known = (pickled, dofn)
    try:
        return list(_known[1].process(element))
    except Exception as error:
        raise _portable(error) from error


def _log_to(path: str) -> None:
    """Sends what is written here to a node's log: the helper outlives the node it began in."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(os.fdopen(2, "a", closefd=False))


def _portable(error: Exception) -> Exception:
    """The error, or one with its text if it cannot cross to another process."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
