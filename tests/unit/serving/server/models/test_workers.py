"""Threads that call models: blocked ones are counted and replaced."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from ordain.serving.server.errors import Code, RequestError
from ordain.serving.server.metrics import Metrics
from ordain.serving.server.models.workers import MAX_EXTRA, Workers


class Stuck:
    """A call that ignores cancellation until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def __call__(self) -> str:
        self.released.wait(60)
        return "late"


def run(work, at_a_time=2, limit_s=0.05):
    """Runs `work(workers, metrics, call)`; `call(function)` waits for a slot and calls."""

    async def main():
        metrics = Metrics()
        workers = Workers(at_a_time, limit_s, metrics)

        async def call(function):
            await workers.acquire()
            return await workers.run(function)

        return await work(workers, metrics, call)

    return asyncio.run(main())


def lost(metrics) -> float:
    return metrics.registry.get_sample_value("ordain_threads_lost", {"work": "model"})


def test_lost_threads_are_counted_replaced_and_reused():
    stuck = Stuck()

    async def work(workers, metrics, call):
        for number in (1, 2, 3):  # more than the concurrency limit
            with pytest.raises(RequestError, match="timed out after 0.05 s") as caught:
                await call(stuck)
            assert caught.value.code is Code.DEADLINE_EXCEEDED
            assert (workers.lost, lost(metrics)) == (number, number)
            assert await call(lambda: "fine") == "fine"
        stuck.released.set()
        while workers.lost:
            await asyncio.sleep(0.01)
        assert lost(metrics) == 0
        return await call(lambda: "reused")

    assert run(work) == "reused"


def test_a_slow_call_that_has_ended_frees_its_slot_once():
    async def work(workers, metrics, call):
        ended = asyncio.get_running_loop().create_future()
        ended.set_result(None)
        workers._pass_on(SimpleNamespace(result=ended))
        return workers._slow, workers._free._value

    assert run(work, at_a_time=2) == (set(), 2)


def test_replacements_are_limited_and_exhaustion_is_reported():
    stuck = Stuck()

    async def work(workers, metrics, call):
        calls = [call(stuck) for _ in range(1 + MAX_EXTRA)]
        failures = await asyncio.gather(*calls, return_exceptions=True)
        assert {f.code for f in failures} == {Code.DEADLINE_EXCEEDED}
        assert (workers.lost, workers.is_exhausted) == (workers.most, True)
        assert threading.active_count() < 60
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await call(lambda: "no thread is left")
        stuck.released.set()
        answer = await call(lambda: "fine")
        assert not workers.is_exhausted
        return answer

    assert run(work, at_a_time=1) == "fine"


@pytest.mark.parametrize("error", [ValueError("a bug"), MemoryError("much"), SystemExit(3)])
def test_an_error_of_a_call_reaches_its_caller(error):
    def fail():
        raise error

    async def work(workers, metrics, call):
        with pytest.raises(Exception, match=str(error)):
            await call(fail)
        return await call(lambda: "fine")

    assert run(work) == "fine"
