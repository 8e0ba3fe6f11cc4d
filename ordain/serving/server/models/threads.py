"""Thread pool for calls into TensorFlow that can be abandoned.

A thread cannot be killed. A call that exceeds its time limit is cancelled; if it still does not end
(a single kernel that runs for minutes, a disk that does not respond), its thread counts as lost and
is replaced. The threads are daemons, so none delays the end of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from prometheus_client import Gauge

from ordain.upstream.tensorflow import Cancellation

#: Seconds for a cancelled call to end before its thread counts as lost.
CANCEL_S = 1.0

T = TypeVar("T")


class Call(Generic[T]):
    """A call in a thread.

    Attributes:
        result: The call's result.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._loop = asyncio.get_running_loop()
        self._cancellation = Cancellation()
        self.result: asyncio.Future[T] = self._loop.create_future()

    def __call__(self) -> None:
        """Runs the call; used by the thread."""
        settle: Callable[[], None]
        try:
            with self._cancellation.cancellable():
                settle = partial(self.result.set_result, self._function())
        except BaseException as error:  # handed to the caller
            settle = partial(self._fail, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(settle)

    def _fail(self, failure: BaseException) -> None:
        if not isinstance(failure, Exception):  # would stop the event loop
            failure = RuntimeError(f"{type(failure).__name__}: {failure}")
        self.result.set_exception(failure)
        self.result.exception()  # marks it as retrieved, in case nothing waits for it

    async def wait(self, timeout_s: float) -> bool:
        """Waits for the end of the call; False after the timeout."""
        done, _ = await asyncio.wait({self.result}, timeout=timeout_s)
        return bool(done)

    async def cancel(self) -> bool:
        """Cancels the call; False if it does not end."""
        self._cancellation.cancel()
        return await self.wait(CANCEL_S)


class Threads:
    """A bounded thread pool; threads are created when needed.

    Attributes:
        most: Most threads.
    """

    def __init__(self, name: str, most: int, gauge: Gauge) -> None:
        self.most = most
        self._name = name
        self._lost: set[asyncio.Future[Any]] = set()
        gauge.set_function(lambda: self.lost)
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0

    @property
    def lost(self) -> int:
        """Threads blocked in a cancelled call that has not ended."""
        return len(self._lost)

    def start(self, function: Callable[[], T]) -> Call[T]:
        """Calls a function in a thread."""
        call = Call(function)
        self._queue.put(call)
        if not self._idle.acquire(blocking=False) and self._count < self.most:
            self._count += 1
            name = f"{self._name}-{self._count}"
            threading.Thread(target=self._run, name=name, daemon=True).start()
        return call

    def lose(self, call: Call[T]) -> None:
        """Counts a call's thread as lost until the call ends, if it ever does."""
        self._lost.add(call.result)
        call.result.add_done_callback(self._lost.discard)

    def _run(self) -> None:
        while True:
            self._queue.get()()
            self._idle.release()
