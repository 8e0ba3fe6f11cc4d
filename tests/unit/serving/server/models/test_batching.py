"""Adaptive batching, with a plain function as the model."""

import asyncio
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ordain.serving.server.codec.tensors import BY_TF, Signature, TensorSpec
from ordain.serving.server.errors import Code, RequestError
from ordain.serving.server.metrics import Metrics
from ordain.serving.server.models.batching import Batcher, QueueLimit
from ordain.serving.server.models.workers import Workers
from ordain.serving.server.settings import Settings

FLOAT = BY_TF["DT_FLOAT"]
SPEC = TensorSpec("x", FLOAT, (-1,))
ROWS = Signature("rows", "", {"x": SPEC}, {"y": SPEC})
ONE = Signature("one", "", {"x": TensorSpec("x", FLOAT, (2,))}, {"y": SPEC})


class Model:
    """Doubles its input; remembers the sizes it was called with."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.sizes: list[int] = []
        self.seconds = seconds
        self.open = threading.Event()
        self.open.set()
        self.never = threading.Event()

    def __call__(self, signature, inputs):
        self.open.wait(10)
        x = inputs["x"]
        self.sizes.append(len(x))
        if (x == 13).any():
            self.never.wait(20)
        time.sleep(self.seconds)
        if (x < 0).any():
            raise RequestError(Code.INVALID_ARGUMENT, f"negative among {len(x)}")
        if (x == 7).any():
            raise ValueError("a bug")
        return {"y": 2 * x if signature != "odd" else x[:1]}


def run(model, work, **settings):
    """Runs `work(call)` in an event loop; `call(values)` returns the outputs of one request."""

    async def main():
        metrics = Metrics()
        made = Settings(Path("base"), "toy", **settings)
        workers = Workers(2, made.request_timeout_s, metrics)
        limit = QueueLimit(made.max_queue, metrics)
        batcher = Batcher(model, workers, limit, made, metrics)

        async def call(*values, signature=ROWS, dtype="float32"):
            array = np.array(values, dtype=dtype)
            answer = await batcher.run(signature, {"x": array}, len(values))
            return answer["y"].tolist()

        try:
            return await work(call)
        finally:
            await batcher.close()

    return asyncio.run(main())


def queued(model, call, *requests):
    """Outputs of requests that arrive while the model computes another one."""

    async def work():
        model.open.clear()
        first = asyncio.create_task(call(100))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(request) for request in requests]
        await asyncio.sleep(0.05)
        model.open.set()
        await first
        return await asyncio.gather(*others, return_exceptions=True)

    return work()


def test_requests_during_a_call_form_one_batch():
    model = Model()
    answers = run(model, lambda call: queued(model, call, call(1), call(2, 3), call(4)))
    assert answers == [[2.0], [4.0, 6.0], [8.0]]
    assert model.sizes == [1, 4]


def test_batches_keep_the_size_limit():
    model = Model()
    requests = lambda call: queued(model, call, *[call(i) for i in range(20, 30)])  # noqa: E731
    run(model, requests, max_batch_size=4)
    assert model.sizes == [1, 4, 4, 2]


def test_a_lone_request_does_not_wait():
    async def work(call):
        started = time.monotonic()
        for value in range(20, 25):
            await call(value)
        return time.monotonic() - started

    assert run(Model(), work, batch_wait_s=10) < 10


def test_other_shapes_are_not_merged():
    model = Model()

    async def work(call):
        return await queued(model, call, call([1, 2]), call([1, 2, 3]), call([3, 4]))

    answers = run(model, work)
    assert answers == [[[2.0, 4.0]], [[2.0, 4.0, 6.0]], [[6.0, 8.0]]]
    assert sorted(model.sizes) == [1, 1, 2]


def test_a_bad_request_fails_alone():
    model = Model()
    values = [1, 2, -1, 3, 4, 5, -2, 6]
    answers = run(model, lambda call: queued(model, call, *[call(v) for v in values]))
    for value, answer in zip(values, answers, strict=True):
        if value < 0:
            assert answer.code is Code.INVALID_ARGUMENT
            assert answer.message == "negative among 1"
        else:
            assert answer == [2.0 * value]


def test_an_error_of_the_model_fails_its_request_only():
    async def work(call):
        with pytest.raises(RequestError, match="a bug") as caught:
            await call(7)
        assert caught.value.code is Code.INTERNAL
        return await call(1)

    assert run(Model(), work) == [2.0]


def test_a_signature_without_rows_is_called_for_each_request():
    model = Model()

    async def work(call):
        return await asyncio.gather(*[call(1, v, signature=ONE) for v in (20, 30)])

    assert run(model, work) == [[2.0, 40.0], [2.0, 60.0]]
    assert model.sizes == [2, 2]


def test_outputs_that_cannot_be_split_are_computed_one_by_one():
    model = Model()
    odd = Signature("odd", "", ROWS.inputs, ROWS.outputs)

    async def work(call):
        model.open.clear()
        tasks = [asyncio.create_task(call(v, signature=odd)) for v in (1, 2, 3)]
        await asyncio.sleep(0.05)
        model.open.set()
        return await asyncio.gather(*tasks)

    assert run(model, work) == [[1.0], [2.0], [3.0]]


def test_a_full_queue_refuses():
    model = Model()

    async def work(call):
        return await queued(model, call, *[call(v) for v in (1, 2, 3)])

    answers = run(model, work, max_queue=2)
    assert answers[:2] == [[2.0], [4.0]]
    assert answers[2].code.http == 429


def test_cancelled_requests_are_dropped_from_the_queue():
    model = Model()

    async def work(call):
        model.open.clear()
        first = asyncio.create_task(call(1))
        await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await call(2)
        model.open.set()
        await first
        return await call(3)

    assert run(model, work) == [6.0]
    assert model.sizes == [1, 1]


def test_an_idle_group_is_created_again():
    async def work(call):
        answers = [await call(1)]
        await asyncio.sleep(1.2)
        return [*answers, await call(2)]

    assert run(Model(), work) == [[2.0], [4.0]]


def test_a_hanging_call_delays_and_merges_with_no_other():
    model = Model()

    async def work(call):
        hanging = asyncio.create_task(call(13))
        await asyncio.sleep(0.05)
        answers = await asyncio.gather(*[call(v) for v in (1, 2, 3)])
        assert not hanging.done()
        model.never.set()
        assert await hanging == [26.0]
        return answers

    assert run(model, work) == [[2.0], [4.0], [6.0]]
    assert model.sizes == [1, 1, 1, 1]


def test_a_call_without_end_times_out():
    model = Model()

    async def work(call):
        with pytest.raises(RequestError, match="timed out after 0.2 s") as caught:
            await call(13)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        return await call(1)

    assert run(model, work, request_timeout_s=0.2) == [2.0]
    model.never.set()
