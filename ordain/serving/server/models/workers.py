"""Worker threads that call models, with limits on concurrency and time.

A call that takes longer than `SLOW_S` no longer counts towards the concurrency limit, so a request
that hangs in the model delays the others by no more than that. At most `MAX_EXTRA` calls run beyond
the limit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from ordain.serving.server.errors import Code, RequestError
from ordain.serving.server.metrics import Metrics
from ordain.serving.server.models.threads import Call, Threads

#: Seconds after which a call no longer counts towards the concurrency limit.
SLOW_S = 1.0
#: Most calls beyond the concurrency limit; TensorFlow gets as many extra threads (`app.serve`).
MAX_EXTRA = 8

log = logging.getLogger("ordain.serve")

T = TypeVar("T")


class Workers:
    """Runs calls of models in threads."""

    def __init__(self, at_a_time: int, limit_s: float, metrics: Metrics) -> None:
        """Creates no thread yet.

        Args:
            at_a_time: Concurrent calls, not counting slow ones.
            limit_s: Time limit of a call.
            metrics: Counts lost threads.
        """
        self._threads = Threads(
            "model", at_a_time + MAX_EXTRA, metrics.threads_lost.labels("model")
        )
        self._free = asyncio.Semaphore(at_a_time)
        self._limit_s = limit_s
        self._passed = 0

    @property
    def lost(self) -> int:
        """Threads blocked in a cancelled call that does not end."""
        return self._threads.lost

    @property
    def most(self) -> int:
        """Most threads."""
        return self._threads.most

    @property
    def is_exhausted(self) -> bool:
        """True if no thread is left to call a model."""
        return self.lost >= self.most

    async def acquire(self) -> None:
        """Waits for a slot, to be used by one `run` or given back by `release`."""
        await self._free.acquire()

    def release(self) -> None:
        """Gives back an unused slot."""
        self._free.release()

    async def run(self, function: Callable[[], T]) -> T:
        """Calls a function in a thread, using an acquired slot.

        Raises:
            RequestError: The call exceeded its time limit, and was cancelled or its thread lost.
            Exception: Raised by the function.
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
        raise RequestError(Code.DEADLINE_EXCEEDED, f"the model timed out after {self._limit_s:g} s")

    def _lose(self, call: Call[T]) -> None:
        self._threads.lose(call)
        log.error(
            "a call of the model does not end: %d of %d threads are blocked", self.lost, self.most
        )


class _Turn:
    """A slot, until its call ends or becomes slow."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._is_passed = False

    def pass_on(self) -> None:
        """Frees the slot for the next call, unless `MAX_EXTRA` slow calls run already."""
        if not self._is_passed and self._workers._passed < MAX_EXTRA:
            self._is_passed = True
            self._workers._passed += 1
            self._workers.release()

    def end(self, _: object) -> None:
        """Frees the slot at the end of the call."""
        if self._is_passed:
            self._workers._passed -= 1
        else:
            self._workers.release()
