"""A long history does not slow a cached run down; benchmarks/history.py measures it at length."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest

ROOT = Path(__file__).resolve().parents[2]


def _benchmark():
    spec = importlib.util.spec_from_file_location("history", ROOT / "benchmarks" / "history.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_a_cached_run_with_150_past_runs_takes_hardly_longer_than_with_5(
    tmp_path: Path, places: tuple[str | None, str | None]
) -> None:
    benchmark = _benchmark()
    few = benchmark.make_project(tmp_path / "few", spans=2, metadata=places[0])
    benchmark.give_history(few, benchmark.FEW)
    many = benchmark.make_project(tmp_path / "many", spans=2, metadata=places[1])
    benchmark.give_history(many, 150)
    figures = benchmark.compare(few, many)
    assert figures["ratio"] <= 1.5, figures
