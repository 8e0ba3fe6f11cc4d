"""Threads for calls into TensorFlow, each with a time limit.

A thread cannot be killed. A call that takes too long is cancelled; if it does not end even then
(a single kernel that works for minutes, a disk that does not answer), its thread is lost: it is
counted, and others take its place. The threads are daemons, so that none holds up the process' end.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from prometheus_client import Gauge

from ordain.serving.server.models.cancellation import Cancellation

#: How long a cancelled call has to end before its thread counts as lost.
CANCEL_S = 1.0

T = TypeVar("T")


class Call(Generic[T]):
    """A call in a thread of its own.

    Attributes:
        result: Done when the call is.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._loop = asyncio.get_running_loop()
        self._cancellation = Cancellation()
        self.result: asyncio.Future[T] = self._loop.create_future()

    def __call__(self) -> None:
        """Makes the call; for the thread."""
        settle: Callable[[], None]
        try:
            with self._cancellation.cancellable():
                settle = partial(self.result.set_result, self._function())
        except BaseException as error:  # whatever it is, it is the caller's to judge
            settle = partial(self._fail, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(settle)

    def _fail(self, failure: BaseException) -> None:
        if not isinstance(failure, Exception):  # it would end the event loop
            failure = RuntimeError(f"{type(failure).__name__}: {failure}")
        self.result.set_exception(failure)
        self.result.exception()  # it may be that nobody waits any more

    async def wait(self, timeout_s: float) -> bool:
        """Waits for the end of the call; False if it did not come in time."""
        done, _ = await asyncio.wait({self.result}, timeout=timeout_s)
        return bool(done)

    async def cancel(self) -> bool:
        """Cancels the call; False if it does not end."""
        self._cancellation.cancel()
        return await self.wait(CANCEL_S)


class Threads:
    """A bounded number of threads, made when they are needed.

    Attributes:
        most: How many there may be.
        lost: How many are in a call that was given up and has not ended.
    """

    def __init__(self, name: str, most: int, gauge: Gauge) -> None:
        self.most = most
        self.lost = 0
        self._name = name
        self._gauge = gauge
        self._gauge.set(0)
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0

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
        self._change(1)
        call.result.add_done_callback(lambda _: self._change(-1))

    def _change(self, by: int) -> None:
        self.lost += by
        self._gauge.set(self.lost)

    def _run(self) -> None:
        while True:
            self._queue.get()()
            self._idle.release()
