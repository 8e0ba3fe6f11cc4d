"""Threads that call models: those that do not come back are counted, and others go on."""

import asyncio
import threading

import pytest

from ordain.serving.server.errors import Code, RequestError
from ordain.serving.server.metrics import Metrics
from ordain.serving.server.models.workers import MAX_EXTRA, Workers


class Stuck:
    """A call that no cancellation ends, until it is let go."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def __call__(self) -> str:
        self.released.wait(60)
        return "late"


def run(work, at_a_time=2, limit_s=0.05):
    """Runs `work(workers, metrics, ask)`; `ask(function)` waits for its turn and calls."""

    async def main():
        metrics = Metrics()
        workers = Workers(at_a_time, limit_s, metrics)

        async def ask(function):
            await workers.acquire()
            return await workers.run(function)

        return await work(workers, metrics, ask)

    return asyncio.run(main())


def lost(metrics) -> float:
    return metrics.registry.get_sample_value("ordain_threads_lost", {"work": "model"})


def test_lost_threads_are_counted_replaced_and_welcome_back():
    stuck = Stuck()

    async def work(workers, metrics, ask):
        for number in (1, 2, 3):  # more than there are at a time
            with pytest.raises(RequestError, match="timed out after 0.05 s") as caught:
                await ask(stuck)
            assert caught.value.code is Code.DEADLINE_EXCEEDED
            assert (workers.lost, lost(metrics)) == (number, number)
            assert await ask(lambda: "fine") == "fine"
        stuck.released.set()
        while workers.lost:
            await asyncio.sleep(0.01)
        assert lost(metrics) == 0
        return await ask(lambda: "again")

    assert run(work) == "again"


def test_there_is_an_end_to_replacing_and_it_is_known():
    stuck = Stuck()

    async def work(workers, metrics, ask):
        calls = [ask(stuck) for _ in range(1 + MAX_EXTRA)]
        failures = await asyncio.gather(*calls, return_exceptions=True)
        assert {f.code for f in failures} == {Code.DEADLINE_EXCEEDED}
        assert (workers.lost, workers.is_exhausted) == (workers.most, True)
        assert threading.active_count() < 60
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask(lambda: "no thread is left")
        stuck.released.set()
        answer = await ask(lambda: "fine")
        assert not workers.is_exhausted
        return answer

    assert run(work, at_a_time=1) == "fine"


@pytest.mark.parametrize("error", [ValueError("a bug"), MemoryError("much"), SystemExit(3)])
def test_whatever_a_call_raises_is_its_answer(error):
    def fail():
        raise error

    async def work(workers, metrics, ask):
        with pytest.raises(Exception, match=str(error)):
            await ask(fail)
        return await ask(lambda: "fine")

    assert run(work) == "fine"
