"""A long history does not slow a cached run down; benchmarks/history.py measures it at length."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _benchmark():
    spec = importlib.util.spec_from_file_location("history", ROOT / "benchmarks" / "history.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_cached_run_with_150_past_runs_takes_hardly_longer_than_with_5(tmp_path: Path) -> None:
    benchmark = _benchmark()
    sandbox = benchmark.make_project(tmp_path / "small", spans=2)
    figures = benchmark.compare(sandbox, runs=150)
    assert figures["ratio"] <= 1.5, figures
