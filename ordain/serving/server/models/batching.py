"""Adaptive batching: concurrent requests share one call of the model.

Requests to one version and signature are merged if their rows have the same shape and type. Each
such group makes one call at a time; requests that arrive meanwhile are the next batch. A lone
request is not delayed: a group waits up to `batch_wait_s` for a batch to fill only if its last
batch held several requests.

A call that takes longer than `workers.SLOW_S` no longer blocks the next one. Until it ends nothing
is merged in its group, so that a request that hangs in the model affects no other.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ordain.serving.server.codec.tensors import Arrays, Signature
from ordain.serving.server.errors import Code, RequestError
from ordain.serving.server.metrics import Metrics
from ordain.serving.server.models.workers import SLOW_S, Workers
from ordain.serving.server.settings import Settings

#: Seconds after which a group without requests is removed.
IDLE_S = 1.0

Call = Callable[[str, Arrays], Arrays]
Key = tuple[object, ...]


class QueueLimit:
    """Limit on the requests that wait for a model, over all versions and signatures."""

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit = limit
        self._waiting = 0
        metrics.queue_depth.set_function(lambda: self._waiting)

    def enter(self) -> None:
        """Counts a waiting request.

        Raises:
            RequestError: The queue is full.
        """
        if self._waiting >= self._limit:
            raise RequestError(
                Code.RESOURCE_EXHAUSTED,
                f"the queue is full with {self._waiting} requests; try again later",
            )
        self._waiting += 1

    def leave(self) -> None:
        """Counts a request that no longer waits."""
        self._waiting -= 1


@dataclass(eq=False)
class _Item:
    inputs: Arrays
    rows: int
    response: asyncio.Future[Arrays]


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
        self._running: set[asyncio.Task[None]] = set()
        self._unsplittable: set[str] = set()

    async def run(self, signature: Signature, inputs: Arrays, rows: int) -> Arrays:
        """Runs one request and returns its outputs.

        Args:
            signature: The requested signature.
            inputs: Complete and checked inputs.
            rows: How many rows they hold.

        Raises:
            RequestError: The queue is full, or the model failed on this request.
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
        return await item.response

    async def close(self) -> None:
        """Removes the groups, when no request waits any more; a blocked call is abandoned."""
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
                    # No await between this check and the end, so no item can be added.
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
            running = asyncio.create_task(self._run_batch(group.signature, batch))
            self._running.add(running)
            running.add_done_callback(self._running.discard)
            done, _ = await asyncio.wait({running}, timeout=SLOW_S)
            if not done:
                group.slow += 1
                running.add_done_callback(group.end_slow)
            if isinstance(key[1], int):  # the group of a request that merges with no other
                del self._groups[key]
                return

    async def _fill(self, group: _Group) -> None:
        """Waits for a full batch, at most `batch_wait_s`."""
        until = time.monotonic() + self._wait_s
        while group.rows < self._max_rows and (left := until - time.monotonic()) > 0:
            group.arrived.clear()
            try:
                await asyncio.wait_for(group.arrived.wait(), left)
            except TimeoutError:
                return

    def _take(self, group: _Group) -> list[_Item]:
        """Takes the next batch, without requests that are done (deadline, disconnect)."""
        batch: list[_Item] = []
        rows = 0
        most = 0 if group.slow else self._max_rows
        while group.items and (not batch or rows + group.items[0].rows <= most):
            item = group.items.popleft()
            group.rows -= item.rows
            self._limit.leave()
            if not item.response.done():
                batch.append(item)
                rows += item.rows
        if batch:
            self._metrics.batch_rows.observe(rows)
        return batch

    async def _run_batch(self, signature: str, batch: list[_Item]) -> None:
        inputs = [(item.inputs, item.rows) for item in batch]
        responses: Sequence[Arrays | RequestError]
        try:
            responses = await self._workers.run(partial(self._run_split, signature, inputs))
        except RequestError as error:
            responses = [error] * len(batch)
        except Exception as error:  # every waiting request gets a response
            failure = RequestError(Code.INTERNAL, f"{type(error).__name__}: {error}")
            responses = [failure] * len(batch)
        for item, response in zip(batch, responses, strict=True):
            if item.response.done():
                continue
            if isinstance(response, RequestError):
                item.response.set_exception(response)
            else:
                item.response.set_result(response)

    def _run_split(
        self, signature: str, batch: Sequence[tuple[Arrays, int]]
    ) -> list[Arrays | RequestError]:
        """Calls the model, in a thread; a failing batch is halved to find the faulty request."""
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
        return self._run_split(signature, batch[:middle]) + self._run_split(
            signature, batch[middle:]
        )

    def _split(
        self, signature: str, outputs: Arrays, batch: Sequence[tuple[Arrays, int]]
    ) -> list[Arrays]:
        counts = [rows for _, rows in batch]
        total = sum(counts)
        if any(array.ndim == 0 or len(array) != total for array in outputs.values()):
            # The signature declares one output row per input row, and the model does not comply.
            self._unsplittable.add(signature)
            raise RequestError(Code.INTERNAL, "the outputs cannot be split by request")
        ends = np.cumsum(counts)
        return [
            {name: array[end - count : end] for name, array in outputs.items()}
            for count, end in zip(counts, ends, strict=True)
        ]


@dataclass(eq=False)
class _Group:
    """Requests that can be merged with each other."""

    signature: str
    items: deque[_Item] = field(default_factory=deque)
    rows: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    slow: int = 0
    worker: asyncio.Task[None] | None = None

    def end_slow(self, _: object) -> None:
        """Counts the end of a slow call."""
        self.slow -= 1
