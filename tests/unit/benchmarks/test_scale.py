"""The year made longer: as many times the rows, moved by noise, everything else as it was."""

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.incremental import Taken
from benchmarks.longer_year import repeat
from benchmarks.process import Measured
from benchmarks.scale import table


@pytest.fixture
def flights() -> pa.Table:
    return pa.table(
        {
            "temp": pa.array([40.0, 60.0, None, 80.0], pa.float32()),
            "carrier": ["UA", None, "B6", "UA"],
            "late": pa.array([0, 1, None, 0], pa.int64()),
        }
    )


def test_decimal_numbers_are_moved_and_the_rest_is_repeated(flights):
    longer = repeat(flights, 3, np.random.default_rng(0))
    assert longer.schema == flights.schema
    for name in ("carrier", "late"):
        assert longer[name].to_pylist() == flights[name].to_pylist() * 3
    temperatures = longer["temp"].to_pylist()
    assert [t is None for t in temperatures] == [t is None for t in flights["temp"].to_pylist()] * 3
    moved = [t for t in temperatures if t is not None]
    assert len(set(moved)) == 9
    assert np.allclose(moved, [40.0, 60.0, 80.0] * 3, atol=2.0)


def test_both_runs_stand_beside_each_other():
    small, large = (
        Taken(
            Measured(0, False, 2 * s, s, None, 10**9, 10**9, 1, 1, 0.0), {"Trainer": t}, 12, 9, 0.7
        )
        for s, t in ((40.0, 20.0), (300.0, 50.0))
    )
    lines = table(small, large, 10)
    assert "| CPU time, s | 40.0 | 300.0 | 7.50 |" in lines
    assert "| Trainer, s | 20.0 | 50.0 | 2.50 |" in lines
