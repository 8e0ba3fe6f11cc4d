"""Adaptive batching: requests that meet are answered by one call of the model.

Requests to one version and signature are merged if their rows have the same shape and type. One
call at a time is made for each such group; what arrives meanwhile is the next batch. A request
that comes alone is not held up: only while the last batch held several does a group wait, up to
`batch_wait_s`, for the next one to fill.

A call that takes longer than `workers.SLOW_S` is passed by the next one. Until it ends nothing is
merged in its group: a request that hangs in the model would take its neighbours with it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ordain.serving.server.codec.tensors import Arrays, Signature
from ordain.serving.server.errors import Code, RequestError
from ordain.serving.server.metrics import Metrics
from ordain.serving.server.models.workers import SLOW_S, Workers
from ordain.serving.server.settings import Settings

#: How long the group of a shape stays without requests: its memory of how busy it is stays too.
IDLE_S = 1.0

Call = Callable[[str, Arrays], Arrays]
Key = tuple[object, ...]


class QueueLimit:
    """How many requests wait for a model, over all versions and signatures."""

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit = limit
        self._waiting = 0
        self._gauge = metrics.queue_depth

    def enter(self) -> None:
        """One more waits.

        Raises:
            RequestError: As many as may are waiting already.
        """
        if self._waiting >= self._limit:
            raise RequestError(
                Code.RESOURCE_EXHAUSTED,
                f"{self._waiting} requests are waiting for the model; try again later",
            )
        self._waiting += 1
        self._gauge.set(self._waiting)

    def leave(self, count: int) -> None:
        """So many wait no longer."""
        self._waiting -= count
        self._gauge.set(self._waiting)


@dataclass(eq=False)
class _Item:
    inputs: Arrays
    rows: int
    answer: asyncio.Future[Arrays]


class Batcher:
    """The groups of one model version; belongs to the event loop it is used in."""

    def __init__(
        self,
        call: Call,
        workers: Workers,
        limit: QueueLimit,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._call = call
        self._workers = workers
        self._limit = limit
        self._max_rows = settings.max_batch_size
        self._wait_s = settings.batch_wait_s
        self._metrics = metrics
        self._groups: dict[Key, _Group] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._unsplittable: set[str] = set()

    async def run(self, signature: Signature, inputs: Arrays, rows: int) -> Arrays:
        """One request's answer.

        Args:
            signature: What is asked.
            inputs: Complete and checked inputs.
            rows: How many rows they hold.

        Raises:
            RequestError: The queue is full, or the model refused this request.
        """
        self._limit.enter()
        item = _Item(inputs, rows, asyncio.get_running_loop().create_future())
        can_merge = signature.is_batchable and signature.name not in self._unsplittable
        shapes = tuple((name, a.dtype.str, a.shape[1:]) for name, a in sorted(inputs.items()))
        key: Key = (signature.name, shapes) if can_merge else (signature.name, id(item))
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(signature.name)
            group.worker = asyncio.create_task(self._work(key, group))
        group.items.append(item)
        group.rows += rows
        group.arrived.set()
        return await item.answer

    async def close(self) -> None:
        """Ends the groups; nothing may be waiting any more. A call that hangs is left to itself."""
        workers = [group.worker for group in self._groups.values() if group.worker is not None]
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        self._groups.clear()

    async def _work(self, key: Key, group: _Group) -> None:
        is_busy = False
        while True:
            if not group.items:
                group.arrived.clear()
                try:
                    await asyncio.wait_for(group.arrived.wait(), IDLE_S)
                except TimeoutError:
                    # Nothing is awaited between the look and the end: no item can slip in.
                    if not group.items:
                        del self._groups[key]
                        return
            if is_busy and self._wait_s > 0 and not group.slow:
                await self._fill(group)
            await self._workers.acquire()
            batch = self._take(group)
            if not batch:
                self._workers.release()
                continue
            is_busy = len(batch) > 1
            answering = asyncio.create_task(self._answer(group.signature, batch))
            self._answering.add(answering)
            answering.add_done_callback(self._answering.discard)
            done, _ = await asyncio.wait({answering}, timeout=SLOW_S)
            if not done:
                group.slow += 1
                answering.add_done_callback(group.end_slow)
            if isinstance(key[1], int):  # the group of a request that merges with no other
                del self._groups[key]
                return

    async def _fill(self, group: _Group) -> None:
        """Waits for a full batch, but not longer than a request may be held up."""
        until = time.monotonic() + self._wait_s
        while group.rows < self._max_rows and (left := until - time.monotonic()) > 0:
            group.arrived.clear()
            try:
                await asyncio.wait_for(group.arrived.wait(), left)
            except TimeoutError:
                return

    def _take(self, group: _Group) -> list[_Item]:
        """The next batch; who gave up waiting (deadline, disconnect) is left out."""
        batch: list[_Item] = []
        rows = 0
        most = 0 if group.slow else self._max_rows
        while group.items and (not batch or rows + group.items[0].rows <= most):
            item = group.items.popleft()
            group.rows -= item.rows
            self._limit.leave(1)
            if not item.answer.done():
                batch.append(item)
                rows += item.rows
        if batch:
            self._metrics.batch_rows.observe(rows)
        return batch

    async def _answer(self, signature: str, batch: list[_Item]) -> None:
        inputs = [(item.inputs, item.rows) for item in batch]
        answers: Sequence[Arrays | RequestError]
        try:
            answers = await self._workers.run(partial(self._run, signature, inputs))
        except RequestError as error:
            answers = [error] * len(batch)
        except Exception as error:
            # Whatever it was, nobody is left waiting for an answer that will not come.
            failure = RequestError(Code.INTERNAL, f"{type(error).__name__}: {error}")
            answers = [failure] * len(batch)
        for item, answer in zip(batch, answers, strict=True):
            if item.answer.done():
                continue
            if isinstance(answer, RequestError):
                item.answer.set_exception(answer)
            else:
                item.answer.set_result(answer)

    def _run(
        self, signature: str, batch: Sequence[tuple[Arrays, int]]
    ) -> list[Arrays | RequestError]:
        """Calls the model, in a thread; a batch that fails is halved to find who is to blame."""
        if len(batch) == 1:
            try:
                return [self._call(signature, batch[0][0])]
            except RequestError as error:
                return [error]
        if signature not in self._unsplittable:
            merged = {
                name: np.concatenate([inputs[name] for inputs, _ in batch]) for name in batch[0][0]
            }
            try:
                return list(self._split(signature, self._call(signature, merged), batch))
            except RequestError:
                pass
        middle = len(batch) // 2
        return self._run(signature, batch[:middle]) + self._run(signature, batch[middle:])

    def _split(
        self, signature: str, outputs: Arrays, batch: Sequence[tuple[Arrays, int]]
    ) -> list[Arrays]:
        counts = [rows for _, rows in batch]
        total = sum(counts)
        if any(array.ndim == 0 or len(array) != total for array in outputs.values()):
            # The signature promised an answer for each row, and the model does not keep to it.
            self._unsplittable.add(signature)
            raise RequestError(Code.INTERNAL, "the answer cannot be told apart by request")
        ends = np.cumsum(counts)
        return [
            {name: array[end - count : end] for name, array in outputs.items()}
            for count, end in zip(counts, ends, strict=True)
        ]


class _Group:
    """Requests that can be merged with each other, and who works on them."""

    def __init__(self, signature: str) -> None:
        self.signature = signature
        self.items: deque[_Item] = deque()
        self.rows = 0
        self.arrived = asyncio.Event()
        self.slow = 0
        self.worker: asyncio.Task[None] | None = None

    def end_slow(self, _: object) -> None:
        """A call that was passed has ended."""
        self.slow -= 1
