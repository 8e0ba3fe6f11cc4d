"""Routing of requests to versions, and the end of a version."""

import asyncio

import pytest

from ordain.serving.server.errors import RequestError
from ordain.serving.server.models.routing import Routing, ServedVersion


class Model:
    def __init__(self, version: int) -> None:
        self.version = version


class Batcher:
    closed = False

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def loaded():
    async def make():
        return {v: ServedVersion(Model(v), Batcher()) for v in (1, 2, 3)}

    return asyncio.run(make())


@pytest.fixture
def routing(loaded):
    return Routing("toy", stable=2, canary=3, share=0.25, loaded=loaded)


def code(routing, *arguments, **named) -> int:
    with pytest.raises(RequestError) as caught:
        routing.choose(*arguments, **named)
    return caught.value.code.http


def test_by_version_and_label(routing):
    assert routing.choose("toy", 1).version == 1
    assert routing.choose("toy", label="stable").version == 2
    assert routing.choose("toy", label="canary").version == 3


def test_unknown_names_versions_and_labels_are_refused(routing):
    assert code(routing, "other") == 404
    assert code(routing, "toy", 9) == 404
    assert code(routing, "toy", label="other") == 400
    assert code(routing, "toy", 1, "stable") == 400
    assert code(Routing("toy"), "toy") == 503
    assert code(Routing("toy"), "toy", label="canary") == 400


def test_equal_ids_get_the_same_version_and_the_share_is_kept(routing):
    chosen = [routing.choose("toy", request_id=f"r{i}").version for i in range(4000)]
    assert chosen == [routing.choose("toy", request_id=f"r{i}").version for i in range(4000)]
    assert abs(chosen.count(3) / 4000 - 0.25) < 0.03
    about = {routing.choose("toy", request_id=None).version for _ in range(4000)}
    assert about == {2}, "requests about the model go to the stable version"
    anonymous = [routing.choose("toy").version for _ in range(4000)]
    assert abs(anonymous.count(3) / 4000 - 0.25) < 0.04


def test_a_larger_share_keeps_its_ids(routing, loaded):
    larger = Routing("toy", stable=2, canary=3, share=0.5, loaded=loaded)
    for i in range(1000):
        if routing.choose("toy", request_id=f"r{i}").version == 3:
            assert larger.choose("toy", request_id=f"r{i}").version == 3


def test_without_a_canary_all_is_stable(loaded):
    routing = Routing("toy", stable=2, loaded=loaded)
    assert {routing.choose("toy", request_id=f"r{i}").version for i in range(100)} == {2}


def test_a_version_ends_after_its_last_request():
    async def work():
        batcher = Batcher()
        served = ServedVersion(Model(1), batcher)
        with served.open_requests.one():
            with served.open_requests.one():
                ending = asyncio.create_task(served.end())
                await asyncio.sleep(0.01)
            assert not ending.done()
        await asyncio.wait_for(ending, 60)
        return batcher.closed

    assert asyncio.run(work())
