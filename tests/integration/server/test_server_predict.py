"""`ordain predict`: from the directory, from a server, and on Beam, the same answers."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from servers import environment, ordain

from ordain.cli.main import cli
from ordain.errors import ConfigError, DataBlockedError, InfrastructureError
from ordain.serving.predict import beam as bulk
from ordain.serving.predict.rows import RowWriter
from ordain.serving.predict.scorer import LocalScorer
from ordain.serving.registry.labels import promote

ROOT = Path(__file__).resolve().parents[3]

ROWS = [{"x": 0.5 * i, "s": "a" * (i % 4), "id": i} for i in range(50)]
SCORED = [{**row, "n": i % 4, "v": 3, "y": float(i + 3)} for i, row in enumerate(ROWS)]


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=16)
    return path


@pytest.fixture
def predict(server):
    def predict(*arguments):
        words = ["predict", str(server.project), *map(str, arguments)]
        done = CliRunner().invoke(cli, words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done

    promote(server.base, 3, "test", "because")
    return predict


def test_the_directory_a_server_and_beam_answer_the_same(predict, server, rows, tmp_path):
    ways = {"here": (), "server": ("--url", server.rest), "beam": ("--beam",)}
    for name, options in ways.items():
        path = tmp_path / f"{name}.parquet"
        predict("--input", rows, "--output", path, "--batch-size", "7", *options)
        assert pq.read_table(path).to_pylist() == SCORED, name


#: A worker that is killed while it writes a part.
HALF = """
import os, signal, sys, pyarrow as pa
from pathlib import Path
from ordain.serving.predict.rows import RowWriter
with RowWriter(Path(sys.argv[1])) as writer:
    writer.write(pa.RecordBatch.from_pylist([{"x": 1.0}]))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_on_beam_a_killed_a_failed_and_a_doubled_worker_change_nothing(
    server, rows, tmp_path, monkeypatch
):
    """Before, what a killed worker had left among the parts was read as one of them."""
    flags = tmp_path / "flags"
    flags.mkdir()

    class Unlucky(bulk._ScoreGroup):
        def process(self, element):
            results = list(super().process(element))
            number = len(list(flags.iterdir()))
            (flags / str(number)).touch()
            if number in (1, 3):
                part = self._staging.new_path(".parquet")
                killed = subprocess.run([sys.executable, "-c", HALF, part], cwd=ROOT, check=False)
                assert killed.returncode == -signal.SIGKILL
                raise RuntimeError("the worker dies after it has written")
            yield from super().process(element)  # speculation: both end
            yield from results

    monkeypatch.setattr(bulk, "_ScoreGroup", Unlucky)
    out = tmp_path / "out.parquet"
    folder = server.base / "3"
    with RowWriter(out) as writer:
        done = bulk.score_file(
            rows,
            writer,
            folder,
            LocalScorer(folder, "serving_default", None).signature,
            None,
            7,
            ["--runner=BundleBasedDirectRunner"],
        )
    assert done == 50
    assert len(list(flags.iterdir())) > 4  # pieces were done again
    assert pq.read_table(out).to_pylist() == SCORED


@pytest.mark.parametrize("options", [(), ("--beam",)])
def test_no_rows_leave_an_empty_file_and_not_yesterdays(predict, tmp_path, options):
    pq.write_table(pa.table({"x": [0.5], "s": ["a"]}).slice(0, 0), tmp_path / "none.parquet")
    out = tmp_path / "out.csv"
    out.write_text("yesterday's")
    predict("--input", tmp_path / "none.parquet", "--output", out, *options)
    assert out.read_bytes() == b""


def test_a_version_a_label_and_lines_on_stdout(predict, server, tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps(ROWS[:2]))
    for options, version in ((("--version", "1"), 1), (("--label", "stable"), 3)):
        found = predict("--input", tmp_path / "rows.json", *options).stdout.splitlines()
        assert [json.loads(line)["v"] for line in found] == [version, version]
    url = ("--url", server.rest, "--label", "stable")
    found = predict("--input", tmp_path / "rows.json", *url).stdout.splitlines()
    assert [json.loads(line) for line in found] == SCORED[:2]


def test_what_is_wrong_is_said(predict, server, rows, tmp_path):
    with pytest.raises(ConfigError, match="there is no version 8"):
        predict("--input", rows, "--version", "8")
    with pytest.raises(ConfigError, match="no version has the label canary"):
        predict("--input", rows, "--label", "canary")
    with pytest.raises(InfrastructureError, match="HTTP 404"):
        predict("--input", rows, "--version", "8", "--url", server.rest)
    with pytest.raises(InfrastructureError, match="Connection refused"):
        predict("--input", rows, "--url", "http://127.0.0.1:9")
    (tmp_path / "short.csv").write_text("x\n1\n")
    with pytest.raises(DataBlockedError, match="no column 's'"):
        predict("--input", tmp_path / "short.csv")


def test_it_is_a_command(server, tmp_path):
    (tmp_path / "rows.csv").write_text("x,s\n1,abc\n")
    done = subprocess.run(
        ordain("predict", server.project, "--input", tmp_path / "rows.csv", "--url", server.rest),
        check=True,
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert json.loads(done.stdout) == {"x": 1.0, "s": "abc", "n": 3, "v": 3, "y": 5.0}
    assert "1 rows scored by http://127.0.0.1" in done.stderr
