"""A second process for pieces of work, so that a node uses a second core.

TFDV's and TFT's accumulators are Python and hold the GIL, so threads do not help. The worker is
forked before TensorFlow has made its first thread, from a process that has everything imported: it
starts in milliseconds and shares that memory. Each piece of work goes to the process that is free.

There is no worker on a single processor, or when TensorFlow's threads run already, for example
after another node in the same process; this process then does all pieces.

Measured gain over a year of flights, CPU time of the main thread, which is the least time that a
node takes with a free core: 45 % of ExampleGen's, 3.7 s without and 2.1 s with; 47 % of
StatisticsGen's, 6.0 s and 3.2 s; 20 % of Transform's, 12.4 s and 9.9 s
(`benchmarks/node_gains.py`, pieces `worker-process-NODE`).
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

from ordain.errors import NodeFailedError
from ordain.upstream import tensorflow

_PR_SET_PDEATHSIG = 1
_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
_log = logging.getLogger(__name__)
_pool: ProcessPoolExecutor | None = None
#: In the worker: the DoFn of the last piece and its pickled form.
_known: tuple[bytes, beam.DoFn] | None = None


def start() -> None:
    """Starts the worker unless it runs or cannot run.

    Call it before TensorFlow's first operation in this process, from the main thread.
    """
    global _pool  # noqa: PLW0603  one for each process
    if _pool is None and _can_fork():
        _pool = ProcessPoolExecutor(1, multiprocessing.get_context("fork"), _settle, (os.getpid(),))
        _pool.submit(os.getpid).result()


def stop() -> None:
    """Ends the worker, if there is one, and frees its memory."""
    global _pool  # noqa: PLW0603  one for each process
    if _pool is not None:
        _pool.shutdown()
        _pool = None


def run(dofn: beam.DoFn, elements: Sequence[Any]) -> list[Any]:
    """Runs a DoFn on each element, in both processes.

    Args:
        dofn: Keeps no state between elements except what `setup` makes.
        elements: Picklable, and so are the results.

    Returns:
        The results, in the order of the elements.

    Raises:
        NodeFailedError: The worker was killed.
        Exception: The DoFn raised it, in either process. No further piece is started.
    """
    work = _Work(dofn, elements)
    if _pool is None or len(elements) < 2:
        work.do_here()
        return work.results()
    feeder = threading.Thread(target=work.feed, args=(_pool, pickler.dumps(dofn)), daemon=True)
    feeder.start()
    try:
        work.do_here()
    finally:
        work.waiting.clear()
        feeder.join()
    return work.results()


class _Work:
    """Pieces that are waiting, and results of the others."""

    def __init__(self, dofn: beam.DoFn, elements: Iterable[Any]) -> None:
        self.waiting = deque(enumerate(elements))
        self._dofn = dofn
        self._done: dict[int, list[Any]] = {}
        self._failure: BaseException | None = None

    def do_here(self) -> None:
        """Processes pieces in this process until none is waiting."""
        is_set_up = False
        while (piece := self._next()) is not None:
            if not is_set_up:
                self._dofn.setup()
                is_set_up = True
            number, element = piece
            self._done[number] = list(self._dofn.process(element))

    def feed(self, pool: ProcessPoolExecutor, pickled: bytes) -> None:
        """Sends pieces to the worker until none is waiting."""
        log = _log_file()
        try:
            while (piece := self._next()) is not None:
                number, element = piece
                self._done[number] = pool.submit(_do, pickled, element, log).result()
        except BaseException as error:
            self._failure = error
            self.waiting.clear()

    def results(self) -> list[Any]:
        """Results in the order of the pieces; raises the worker's error."""
        if isinstance(self._failure, BrokenProcessPool):
            stop()
            raise NodeFailedError(
                "the worker process was killed, perhaps out of memory",
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
    """True if a fork helps and is safe: the worker would lack threads that TensorFlow has made."""
    is_main = threading.current_thread() is threading.main_thread()
    if tensorflow.has_started() or not is_main or _processors() < 2:
        _log.info("one process: TensorFlow runs already, or there is a single processor")
        return False
    return True


def _processors() -> float:
    """Number of processors this process may use; a container's limit may be a fraction."""
    count = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = _CPU_LIMIT.read_text(encoding="ascii").split()
        return min(count, int(quota) / int(period))
    except (OSError, ValueError):  # no limit, or cgroup v1
        return count


def _log_file() -> str | None:
    """Path of the file that standard error is redirected to, or None."""
    try:
        path = str(Path("/proc/self/fd/2").readlink())
    except OSError:
        return None
    return path if Path(path).is_file() else None


def _settle(parent: int) -> None:
    """Initializes the worker so that it ends with its parent, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before the line above
        os._exit(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Ctrl-C reaches the whole process group; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _do(pickled: bytes, element: Any, log: str | None) -> list[Any]:
    """Processes one piece, in the worker."""
    global _known  # noqa: PLW0603  one for each worker
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
    """Redirects output to a node's log: the worker outlives the node that started it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(os.fdopen(2, "a", closefd=False))


def _portable(error: Exception) -> Exception:
    """The error, or one with its text if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
