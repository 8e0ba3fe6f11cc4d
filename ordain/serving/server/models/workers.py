"""The threads that call models: so many calls at a time, none for longer than a request may take.

A call that takes longer than `SLOW_S` no longer counts among those at a time: the next one begins
beside it, so that one request that hangs in the model delays the others by no more than that. At
most `MAX_EXTRA` calls are beside the usual ones; a slow model is slow with that many more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from ordain.serving.server.errors import Code, RequestError
from ordain.serving.server.metrics import Metrics
from ordain.serving.server.models.threads import Call, Threads

#: After so long a call is passed by the next one.
SLOW_S = 1.0
#: Calls that may be passed at a time; TensorFlow gets as many threads more (`app.serve`).
MAX_EXTRA = 8

log = logging.getLogger("ordain.serve")

T = TypeVar("T")


class Workers:
    """Runs calls of models."""

    def __init__(self, at_a_time: int, limit_s: float, metrics: Metrics) -> None:
        """Makes no thread yet.

        Args:
            at_a_time: Calls at a time, those that are slow left out.
            limit_s: Longest a call may take.
            metrics: Where lost threads are counted.
        """
        self._threads = Threads(
            "model", at_a_time + MAX_EXTRA, metrics.threads_lost.labels("model")
        )
        self._free = asyncio.Semaphore(at_a_time)
        self._limit_s = limit_s
        self._passed = 0

    @property
    def lost(self) -> int:
        """Threads in a call that was given up and does not end."""
        return self._threads.lost

    @property
    def most(self) -> int:
        """Threads there may be."""
        return self._threads.most

    @property
    def is_exhausted(self) -> bool:
        """True if no thread is left to call a model."""
        return self.lost >= self.most

    async def acquire(self) -> None:
        """Waits for its turn; each return is for one `run` or `release`."""
        await self._free.acquire()

    def release(self) -> None:
        """Gives a turn back that was not used."""
        self._free.release()

    async def run(self, function: Callable[[], T]) -> T:
        """Calls a function in a thread, once it is its turn.

        Raises:
            RequestError: It took too long; it was cancelled, or its thread is lost.
            Exception: What the function raised.
        """
        call = self._threads.start(function)
        turn = _Turn(self)
        call.result.add_done_callback(turn.end)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._limit_s
        while (left := until - loop.time()) > 0:
            if await call.wait(min(SLOW_S, left)):
                return call.result.result()
            turn.pass_on()
        if not await call.cancel():
            self._lose(call)
        turn.pass_on()
        raise RequestError(
            Code.DEADLINE_EXCEEDED, f"the model did not answer within {self._limit_s:g} s"
        )

    def _lose(self, call: Call[T]) -> None:
        self._threads.lose(call)
        log.error(
            "a call of the model does not end: %d of %d threads are lost", self.lost, self.most
        )


class _Turn:
    """One of the calls at a time, until its call ends or is passed by the next one."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._is_passed = False

    def pass_on(self) -> None:
        """Lets the next call begin, if there may be one more at a time."""
        if not self._is_passed and self._workers._passed < MAX_EXTRA:
            self._is_passed = True
            self._workers._passed += 1
            self._workers.release()

    def end(self, _: object) -> None:
        """The call has ended."""
        if self._is_passed:
            self._workers._passed -= 1
        else:
            self._workers.release()
