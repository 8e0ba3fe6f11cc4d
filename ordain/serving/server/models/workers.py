"""Worker threads that call models, with limits on concurrency and time.

A call that takes longer than `SLOW_S` no longer counts towards the concurrency limit, so a request
that hangs in the model delays the others by no more than that. At most `MAX_EXTRA` calls run beyond
the limit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

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
        self._slow: set[asyncio.Future[Any]] = set()

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
        call.result.add_done_callback(self._end)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._limit_s
        while (left := until - loop.time()) > 0:
            if await call.wait(min(SLOW_S, left)):
                return call.result.result()
            self._pass_on(call)
        if not await call.cancel():
            self._threads.lose(call)
            log.error(
                "a call of the model does not end: %d of %d threads are blocked",
                self.lost,
                self.most,
            )
        self._pass_on(call)
        raise RequestError(Code.DEADLINE_EXCEEDED, f"the model timed out after {self._limit_s:g} s")

    def _pass_on(self, call: Call[T]) -> None:
        """Frees the slot of a slow call for the next one, unless `MAX_EXTRA` run already."""
        # A call that has ended meanwhile has freed its slot.
        if not call.result.done() and call.result not in self._slow and len(self._slow) < MAX_EXTRA:
            self._slow.add(call.result)
            self.release()

    def _end(self, result: asyncio.Future[T]) -> None:
        """Frees the slot at the end of a call, unless that happened before."""
        if result in self._slow:
            self._slow.remove(result)
        else:
            self.release()
