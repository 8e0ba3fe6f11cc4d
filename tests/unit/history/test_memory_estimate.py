"""Estimated memory of a run: from past runs, or from constants."""

import gzip
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from ordain.history.memory_estimate import (
    BYTES_PER_CELL,
    LIBRARIES_BYTES,
    SERVER_BYTES,
    estimate_memory,
    scaled,
)
from ordain.runner.preflight import make_plan

GB = 10**9


def estimate(project):
    return estimate_memory(project, make_plan(project).window)


def write_run(project, run_id, peak=3 * GB, rows=1000, trainer="complete", failure=None):
    folder = project.runs / run_id
    folder.mkdir(parents=True)
    result = {
        "peak_rss_bytes": peak,
        "failure": failure,
        "nodes": [
            {"node": "ExampleGen", "state": "complete", "rows": rows},
            {"node": "Trainer", "state": trainer, "rows": None},
        ],
    }
    (folder / "result.json").write_text(json.dumps(result))


def write_data(project, name, rows=500, columns=4):
    (folder,) = project.data.path.iterdir()
    for old in folder.iterdir():
        old.unlink()
    header = ",".join(f"c{i}" for i in range(columns))
    text = "\n".join([header, *(",".join(["12345"] * columns) for _ in range(rows))]) + "\n"
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    elif name.endswith(".csv"):
        path.write_text(text)
    else:
        parquet.write_table(pa.table({f"c{i}": [1] * rows for i in range(columns)}), path)


class TestConstants:
    def test_rows_and_columns_of_parquet_are_exact(self, make_project):
        project = make_project(spans=(1,), data__pattern="{SPAN}/*")
        write_data(project, "rows.parquet")
        found = estimate(project)
        assert (found.rows, found.columns, found.measured_in) == (500, 4, None)
        assert found.needed_bytes == LIBRARIES_BYTES + SERVER_BYTES
        assert "500 rows of 4 columns; nothing measured yet" in found.text

    @pytest.mark.parametrize("rows", [10, 500, 50_000])
    @pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
    def test_those_of_csv_are_estimated(self, make_project, name, rows):
        project = make_project(spans=(1,), data__pattern="{SPAN}/*")
        write_data(project, name, rows)
        found = estimate(project)
        assert found.rows == pytest.approx(rows, rel=0.1)
        assert found.columns == 4

    def test_without_a_server_gate_the_rows_count(self, make_project):
        none = {"server": {"none": "not served"}}
        project = make_project(spans=(1,), data__pattern="{SPAN}/*", gate=none)
        write_data(project, "rows.parquet")
        assert estimate(project).needed_bytes == LIBRARIES_BYTES + 2000 * BYTES_PER_CELL

    def test_rows_of_tfrecord_are_unknown(self, make_project):
        found = estimate(make_project(data__format="tfrecord"))
        assert (found.rows, found.columns) == (None, None)
        assert "rows unknown; nothing measured yet" in found.text


class TestPastRuns:
    def test_the_newest_that_trained_counts(self, make_project):
        project = make_project(spans=(1,), data__pattern="{SPAN}/*")
        write_data(project, "rows.parquet", rows=1000)
        write_run(project, "20260101-000000-aaaa", peak=9 * GB)
        write_run(project, "20260102-000000-aaaa", peak=3 * GB)
        write_run(project, "20260103-000000-aaaa", peak=GB, trainer="cached")
        write_run(project, "20260104-000000-aaaa", peak=GB, failure={"node": "Pusher"})
        (project.runs / "20260105-000000-aaaa").mkdir()
        (project.runs / "20260105-000000-aaaa" / "result.json").write_text("{")
        found = estimate(project)
        assert (found.needed_bytes, found.measured_in) == (3 * GB, "20260102-000000-aaaa")

    @pytest.mark.parametrize(
        ("rows", "needed"),
        [(1000, 3 * GB), (500, 3 * GB), (250, 1.5 * GB), (2000, 5 * GB), (0, GB)],
    )
    def test_what_is_not_libraries_grows_with_the_rows(self, rows, needed):
        assert scaled(3 * GB, 1000, rows) == needed

    def test_a_run_below_the_libraries_does_not_shrink(self):
        assert scaled(GB // 2, 1000, 5000) == GB // 2


def test_what_is_free_stands_beside_it(make_project):
    project = make_project()
    write_run(project, "20260101-000000-aaaa", peak=10**15, rows=1)
    found = estimate(project)
    assert not found.is_enough
    assert 0 < found.available_bytes < found.total_bytes
    assert found.text.endswith("GB are free")
