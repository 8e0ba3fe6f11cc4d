"""Adaptive batching, with a plain function in the model's place."""

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
        self.hold = threading.Event()
        self.hold.set()
        self.never = threading.Event()

    def __call__(self, signature, inputs):
        self.hold.wait(10)
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
    """Runs `work(ask)` in an event loop; `ask(values)` is one request's answer as a list."""

    async def main():
        metrics = Metrics()
        made = Settings(Path("base"), "toy", **settings)
        workers = Workers(2, made.request_timeout_s, metrics)
        limit = QueueLimit(made.max_queue, metrics)
        batcher = Batcher(model, workers, limit, made, metrics)

        async def ask(*values, signature=ROWS, dtype="float32"):
            array = np.array(values, dtype=dtype)
            answer = await batcher.run(signature, {"x": array}, len(values))
            return answer["y"].tolist()

        try:
            return await work(ask)
        finally:
            await batcher.close()

    return asyncio.run(main())


def held(model, ask, *requests):
    """Answers of requests that come while the model is at work on another one."""

    async def work():
        model.hold.clear()
        first = asyncio.create_task(ask(100))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(request) for request in requests]
        await asyncio.sleep(0.05)
        model.hold.set()
        await first
        return await asyncio.gather(*others, return_exceptions=True)

    return work()


def test_what_comes_while_the_model_works_is_one_batch():
    model = Model()
    answers = run(model, lambda ask: held(model, ask, ask(1), ask(2, 3), ask(4)))
    assert answers == [[2.0], [4.0, 6.0], [8.0]]
    assert model.sizes == [1, 4]


def test_a_batch_is_no_larger_than_allowed():
    model = Model()
    requests = lambda ask: held(model, ask, *[ask(i) for i in range(20, 30)])  # noqa: E731
    run(model, requests, max_batch_size=4)
    assert model.sizes == [1, 4, 4, 2]


def test_a_lone_request_is_not_held_up():
    async def work(ask):
        started = time.monotonic()
        for value in range(20, 25):
            await ask(value)
        return time.monotonic() - started

    assert run(Model(), work, batch_wait_s=10) < 10


def test_other_shapes_and_types_are_not_mixed():
    model = Model()

    async def work(ask):
        return await held(model, ask, ask([1, 2]), ask([1, 2, 3]), ask([3, 4]))

    answers = run(model, work)
    assert answers == [[[2.0, 4.0]], [[2.0, 4.0, 6.0]], [[6.0, 8.0]]]
    assert sorted(model.sizes) == [1, 1, 2]


def test_a_bad_request_fails_alone():
    model = Model()
    values = [1, 2, -1, 3, 4, 5, -2, 6]
    answers = run(model, lambda ask: held(model, ask, *[ask(v) for v in values]))
    for value, answer in zip(values, answers, strict=True):
        if value < 0:
            assert answer.code is Code.INVALID_ARGUMENT
            assert answer.message == "negative among 1"
        else:
            assert answer == [2.0 * value]


def test_a_bug_in_the_model_is_an_answer_and_no_end():
    async def work(ask):
        with pytest.raises(RequestError, match="a bug") as caught:
            await ask(7)
        assert caught.value.code is Code.INTERNAL
        return await ask(1)

    assert run(Model(), work) == [2.0]


def test_a_signature_without_rows_is_called_for_each_request():
    model = Model()

    async def work(ask):
        return await asyncio.gather(*[ask(1, v, signature=ONE) for v in (20, 30)])

    assert run(model, work) == [[2.0, 40.0], [2.0, 60.0]]
    assert model.sizes == [2, 2]


def test_answers_that_cannot_be_told_apart_are_asked_for_one_by_one():
    model = Model()
    odd = Signature("odd", "", ROWS.inputs, ROWS.outputs)

    async def work(ask):
        model.hold.clear()
        tasks = [asyncio.create_task(ask(v, signature=odd)) for v in (1, 2, 3)]
        await asyncio.sleep(0.05)
        model.hold.set()
        return await asyncio.gather(*tasks)

    assert run(model, work) == [[1.0], [2.0], [3.0]]


def test_a_full_queue_refuses():
    model = Model()

    async def work(ask):
        return await held(model, ask, *[ask(v) for v in (1, 2, 3)])

    answers = run(model, work, max_queue=2)
    assert answers[:2] == [[2.0], [4.0]]
    assert answers[2].code.http == 429


def test_who_gave_up_is_not_worked_for():
    model = Model()

    async def work(ask):
        model.hold.clear()
        first = asyncio.create_task(ask(1))
        await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask(2)
        model.hold.set()
        await first
        return await ask(3)

    assert run(model, work) == [6.0]
    assert model.sizes == [1, 1]


def test_a_group_that_ended_is_made_again():
    async def work(ask):
        answers = [await ask(1)]
        await asyncio.sleep(1.2)
        return [*answers, await ask(2)]

    assert run(Model(), work) == [[2.0], [4.0]]


def test_a_call_that_hangs_holds_nobody_up_and_merges_with_nobody():
    model = Model()

    async def work(ask):
        hanging = asyncio.create_task(ask(13))
        await asyncio.sleep(0.05)
        answers = await asyncio.gather(*[ask(v) for v in (1, 2, 3)])
        assert not hanging.done()
        model.never.set()
        assert await hanging == [26.0]
        return answers

    assert run(model, work) == [[2.0], [4.0], [6.0]]
    assert model.sizes == [1, 1, 1, 1]


def test_a_call_without_end_is_given_up():
    model = Model()

    async def work(ask):
        with pytest.raises(RequestError, match="timed out after 0.2 s") as caught:
            await ask(13)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        return await ask(1)

    assert run(model, work, request_timeout_s=0.2) == [2.0]
    model.never.set()
