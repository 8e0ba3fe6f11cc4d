"""Rows in files, columns to inputs, outputs to columns."""

import io
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ordain.errors import ConfigError, DataBlockedError
from ordain.serving.predict.columns import add_outputs, to_inputs
from ordain.serving.predict.rows import RowWriter, read_batches
from ordain.serving.server.codec.tensors import BY_TF, Signature, TensorSpec

NAN = np.array(np.nan, dtype=object)
INPUTS = {
    "x": TensorSpec("x", BY_TF["DT_FLOAT"], (-1,), NAN),
    "i": TensorSpec("i", BY_TF["DT_INT64"], (-1, 1)),
    "s": TensorSpec("s", BY_TF["DT_STRING"], (-1,), np.array(b"", dtype=object)),
}
SIGNATURE = Signature("serving_default", "", INPUTS, {})
ROWS = [{"x": 1.5, "i": 1, "s": "é", "id": "007"}, {"x": None, "i": 2, "s": None, "id": "8"}]


@pytest.fixture
def write(tmp_path):
    def write(suffix):
        path = tmp_path / f"rows{suffix}"
        if suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(ROWS), path)
        elif suffix == ".csv":
            path.write_text("x,i,s,id\n1.5,1,é,007\n,2,,8\n")
        elif suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        else:
            path.write_text(json.dumps({"instances": ROWS}))
        return path

    return write


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_each_format_gives_the_same_inputs(write, suffix):
    (batch,) = read_batches(write(suffix), INPUTS, 10)
    inputs = to_inputs(batch, SIGNATURE)
    assert inputs["x"].dtype == np.float32
    assert inputs["x"][0] == 1.5
    assert math.isnan(inputs["x"][1])
    assert inputs["i"].tolist() == [[1], [2]]
    assert inputs["s"].tolist() == ["é".encode(), b""]
    assert batch.column("id").to_pylist() == ["007", "8"]


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_batches_have_the_given_size(write, suffix):
    assert [b.num_rows for b in read_batches(write(suffix), INPUTS, 1)] == [1, 1]


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("rows.txt", "", ConfigError),
        ("rows.json", "{", DataBlockedError),
        ("rows.json", "[1]", DataBlockedError),
        ("rows.csv", "x,i\n1,one\n", DataBlockedError),
        ("rows.csv", "", DataBlockedError),
        ("rows.parquet", "no", DataBlockedError),
    ],
)
def test_unreadable_files_are_named(tmp_path, name, text, error):
    (tmp_path / name).write_text(text)
    with pytest.raises(error, match="rows"):
        list(read_batches(tmp_path / name, INPUTS, 10))


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([1.5]), "out of range"),
        (pa.array(["1"]), "incompatible type"),
        (pa.array([None], pa.int64()), "no value in row 0"),
        (pa.array([True]), "incompatible type"),
    ],
)
def test_incompatible_columns_are_named(column, words):
    batch = pa.RecordBatch.from_arrays([column], names=["i"])
    with pytest.raises(DataBlockedError, match=words) as caught:
        to_inputs(batch, SIGNATURE)
    assert "'i'" in caught.value.message


def test_a_missing_column_is_named():
    with pytest.raises(DataBlockedError, match="no column 'i'"):
        to_inputs(pa.RecordBatch.from_pydict({"x": [1.0]}), SIGNATURE)


OUTPUTS = {
    "y": np.array([[0.5], [1.5]], dtype="float32"),
    "many": np.array([[1, 2], [3, 4]]),
    "x": np.array([b"a", b"b"], dtype=object),
}


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_outputs_are_appended_to_the_rows(tmp_path, suffix):
    batch = pa.RecordBatch.from_pylist(ROWS)
    path = tmp_path / f"out{suffix}"
    with RowWriter(path) as writer:
        for _ in range(2):
            writer.write(add_outputs(batch, OUTPUTS))
    found = [row for b in read_batches(path, {}, 10) for row in b.to_pylist()]
    assert len(found) == 4
    assert list(found[0]) == ["x", "i", "s", "id", "many", "output_x", "y"]
    assert float(found[1]["y"]) == 1.5
    assert found[1]["output_x"] == "b"
    assert found[3]["many"] in ([3, 4], "[3, 4]")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_after_an_error_only_the_old_file_is_left(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    path.write_text("the old rows")
    with pytest.raises(ZeroDivisionError), RowWriter(path) as writer:
        writer.write(pa.RecordBatch.from_pylist(ROWS))
        _ = 1 / 0
    assert path.read_text() == "the old rows"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("suffix", "content"), [(".csv", b""), (".jsonl", b""), (".json", b"[]\n"), (".parquet", None)]
)
def test_without_a_row_the_new_file_is_empty(tmp_path, suffix, content):
    path = tmp_path / f"out{suffix}"
    path.write_text("the old rows")
    with RowWriter(path):
        pass
    if content is None:
        assert list(read_batches(path, {}, 10)) == []
    else:
        assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


KILLED = """
import sys, pyarrow as pa
from pathlib import Path
from ordain.serving.predict.rows import RowWriter
with RowWriter(Path(sys.argv[1])) as writer:
    writer.write(pa.RecordBatch.from_pylist([{"x": "half"}] * 1000))
    print("half", flush=True)
    sys.stdin.read()
    writer.write(pa.RecordBatch.from_pylist([{"x": "half"}]))
"""


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_killed_writer_leaves_the_old_file_and_the_next_writer_cleans_up(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    path.write_text("the old rows")
    killed, live = (
        subprocess.Popen(
            [sys.executable, "-c", KILLED, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parents[4],
        )
        for _ in range(2)
    )
    with killed, live:
        for process in (killed, live):
            assert process.stdout.readline() == b"half\n"
        killed.kill()
        killed.wait()
        assert path.read_text() == "the old rows"
        assert len(list(tmp_path.glob(".*"))) == 2
        with RowWriter(path) as writer:
            writer.write(pa.RecordBatch.from_pylist(ROWS[:1]))
        rows = [row for b in read_batches(path, {}, 10) for row in b.to_pylist()]
        assert [row["id"] for row in rows] in ([ROWS[0]["id"]], [str(ROWS[0]["id"])])
        # The live writer's file is untouched, and complete at its end.
        assert len(list(tmp_path.glob(".*"))) == 1
        live.communicate(b"")
        assert live.returncode == 0
    assert sum(b.num_rows for b in read_batches(path, {}, 5000)) == 1001
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_without_a_file_rows_are_json_lines():
    stream = io.StringIO()
    with RowWriter(None, stream) as writer:
        writer.write(pa.RecordBatch.from_pylist(ROWS))
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == ROWS
