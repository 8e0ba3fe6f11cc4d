"""Medians, ratios and tables, on numbers that can be checked by hand."""

import json

import pytest

from benchmarks import figures
from benchmarks.contestants import Outcome
from benchmarks.figures import REST, Run
from benchmarks.process import Measured

TITLES = {"stock": "stock TFX", "plain": "plain script", "ordain": "ordain"}


def _measured(wall_s: float, pss: int | None = 1_000_000_000) -> Measured:
    return Measured(
        exit_code=0, is_timed_out=False, wall_s=wall_s, cpu_s=wall_s * 1.5, peak_pss_bytes=pss,
        peak_rss_bytes=2_000_000_000, largest_rss_bytes=2_000_000_000, processes=1, samples=5,
        foreign_cpu_s=0.0,
    )  # fmt: skip


def _runs(
    name: str,
    walls: list[float],
    auc: float,
    pss: int | None = 1_000_000_000,
    is_blessed: bool | None = True,
) -> list[Run]:
    outcome = Outcome(auc, {"origin=JFK": auc - 0.1}, 10, {"Trainer": 4.0}, is_blessed)
    measured = [_measured(wall, pss) for wall in walls]
    return [Run(name, i, "command", m, outcome) for i, m in enumerate(measured, start=1)]


def test_medians_and_ratios() -> None:
    runs = [
        *_runs("stock", [210.0, 190.0, 200.0], auc=0.72, pss=2_000_000_000),
        *_runs("plain", [20.0, 10.0], auc=0.73, is_blessed=None),
        *_runs("ordain", [100.0, 40.0, 50.0], auc=0.725),
    ]
    summaries = figures.summarize(runs)

    assert summaries["stock"].wall_s == 200.0
    assert summaries["stock"].wall_range_s == (190.0, 210.0)
    assert summaries["plain"].wall_s == 15.0
    assert summaries["ordain"].seconds == {"Trainer": 4.0, REST: 46.0}
    compared = figures.compare(summaries)
    assert compared["ordain/stock"] == pytest.approx(
        {"wall": 0.25, "cpu": 0.25, "peak_pss": 0.5, "peak_rss": 1.0, "auc": 0.005}
    )
    assert compared["ordain/plain"]["wall"] == pytest.approx(50 / 15)
    assert compared["ordain/plain"]["auc"] == pytest.approx(-0.005)

    table = figures.main_table(TITLES, summaries)
    assert len({len(line) for line in table}) == 1
    rows = {cells[0]: cells[1:] for cells in _cells(table)}
    assert rows["median"][-2:] == ["ordain / stock TFX", "ordain / plain script"]
    assert rows["wall time, s"] == ["200.0", "15.0", "50.0", "0.25", "3.33"]
    assert rows["peak memory (PSS), MB"] == ["2000", "1000", "1000", "0.50", "1.00"]
    assert rows["AUC on the eval days"] == ["0.7200", "0.7300", "0.7250", "+0.0050", "-0.0050"]
    assert rows["AUC, origin=JFK"][:3] == ["0.6200", "0.6300", "0.6250"]
    assert rows["models that were blessed"][:3] == ["3", "no threshold", "3"]
    json.dumps(figures.as_json(summaries))


def test_a_failed_run_counts_in_no_median() -> None:
    failed = Run("ordain", 3, "command", _measured(1.0), error="ended with exit code 1")
    summaries = figures.summarize([*_runs("ordain", [40.0, 50.0], auc=0.7), failed])
    assert (summaries["ordain"].done, summaries["ordain"].asked) == (2, 3)
    assert summaries["ordain"].wall_s == 45.0


def test_a_contestant_that_always_failed_has_a_column_that_says_so() -> None:
    failed = Run("stock", 1, "command", None, error="cannot be started")
    summaries = figures.summarize([failed, *_runs("ordain", [40.0], auc=0.7)])
    assert figures.compare(summaries) == {}
    titles = {name: TITLES[name] for name in ("stock", "ordain")}
    rows = {cells[0]: cells[1:] for cells in _cells(figures.main_table(titles, summaries))}
    assert rows["wall time, s"] == ["failed", "40.0", "-"]
    seconds = {cells[0]: cells[1:] for cells in _cells(figures.seconds_table(titles, summaries))}
    assert seconds["Trainer"] == ["-", "4.0"]


def test_memory_the_kernel_did_not_tell_is_not_compared() -> None:
    summaries = figures.summarize(
        [*_runs("stock", [9.0], auc=0.7, pss=None), *_runs("ordain", [3.0], auc=0.7)]
    )
    assert figures.compare(summaries)["ordain/stock"]["peak_pss"] is None
    assert figures.ratio(1.0, 0.0) is None


def _cells(table: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
