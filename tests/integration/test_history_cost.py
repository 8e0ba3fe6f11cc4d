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
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str | None]:
    """`metadata` in pipeline.yaml; None is the project's own file."""
    if request.param == "sqlite":
        yield None
        return
    if not postgres.is_installed() and "ORDAIN_TEST_ALL" not in os.environ:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    with postgres.serving() as server:
        server.make("history")
        yield server.address("history")


def test_a_cached_run_with_150_past_runs_takes_hardly_longer_than_with_5(
    tmp_path: Path, place: str | None
) -> None:
    benchmark = _benchmark()
    sandbox = benchmark.make_project(tmp_path / "small", spans=2, metadata=place)
    figures = benchmark.compare(sandbox, runs=150)
    assert figures["ratio"] <= 1.5, figures
