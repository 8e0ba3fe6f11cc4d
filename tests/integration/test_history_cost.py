"""A long history does not slow a cached run down: it asks ML Metadata as little as a short one.

Seconds would say how busy the machine is; benchmarks/history.py measures them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest

from benchmarks import history


@pytest.fixture(params=["sqlite", "postgresql"])
def places(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str | None, str | None]]:
    """`metadata` of two projects; None is the project's own file."""
    if request.param == "sqlite":
        yield None, None
        return
    if not postgres.is_installed() and "ORDAIN_TEST_ALL" not in os.environ:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    with postgres.serving() as server:
        server.make("few")
        server.make("many")
        yield server.address("few"), server.address("many")


def test_a_cached_run_with_60_past_runs_asks_as_much_as_one_with_5(
    tmp_path: Path, places: tuple[str | None, str | None]
) -> None:
    sandboxes = [
        history.make_project(tmp_path / name, spans=2, metadata=place)
        for name, place in zip(("few", "many"), places, strict=True)
    ]
    runs, looks, stock = [], [], []
    for sandbox, past in zip(sandboxes, (history.FEW, 60), strict=True):
        history.give_history(sandbox, past)
        history.cached_run(sandbox)  # reads the runs that were written past ordain, once
        for found, ask in (
            (runs, history.cached_run),
            (looks, history.look),
            (stock, lambda one: history.cached_run(one, is_stock=True)),
        ):
            with history.counted() as asked:
                ask(sandbox)
            found.append(asked)
    for few, many in (runs, looks):
        # A question for each past run would be 55 more.
        assert many.calls <= few.calls + 25, (few, many)
        assert many.answer_bytes <= 2 * few.answer_bytes, (few, many)
    few, many = stock
    assert many.calls > few.calls + 100, "TFX's own questions no longer grow with the past"
    assert many.answer_bytes > 4 * few.answer_bytes
