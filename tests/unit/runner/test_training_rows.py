"""Rows that training will never see, as far as they are known before a run."""

import json

import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from ordain.cli.main import cli
from ordain.runner.training_rows import unseen_rows

TEXT = "training sees 300 of about 400 rows: 10 steps of 30; train.steps: 14 sees each row once"


@pytest.mark.parametrize(
    ("parameters", "steps", "rows", "text"),
    [
        ({"batch_size": 30}, 10, 600, TEXT),
        ({"batch_size": 40}, 10, 600, None),
        ({"batch_size": 30}, 10, None, None),
        ({"batch_size": True}, 10, 600, None),
        ({"batch_size": "30"}, 10, 600, None),
        ({"size": 30}, 10, 600, None),
    ],
)
def test_they_are_noted_where_batch_size_and_rows_are_known(
    make_project, parameters, steps, rows, text
):
    project = make_project(train={"steps": steps, "parameters": parameters})
    assert unseen_rows(project, rows) == text


def test_unknown_rows_are_those_of_the_newest_run(make_project):
    project = make_project(train={"steps": 10, "parameters": {"batch_size": 30}})
    folder = project.runs / "run-1"
    folder.mkdir(parents=True)
    nodes = [
        {"node": "ExampleGen", "state": "complete", "rows": 600},
        {"node": "Trainer", "state": "complete", "rows": None},
    ]
    result = {"peak_rss_bytes": 1, "failure": None, "nodes": nodes}
    (folder / "result.json").write_text(json.dumps(result))
    assert unseen_rows(project, None) == TEXT


def test_plan_prints_the_note(make_folder):
    settings = {"steps": 10, "parameters": {"batch_size": 30}}
    folder = make_folder(train=settings, data__pattern="{SPAN}/*", spans=(1,))
    (data,) = (folder / "data").iterdir()
    for old in data.iterdir():
        old.unlink()
    parquet.write_table(pa.table({"x": [1] * 600}), data / "rows.parquet")
    done = CliRunner().invoke(cli, ["plan", str(folder)])
    assert done.exit_code == 0, done.output
    assert f"  note: {TEXT}" in done.output
    done = CliRunner().invoke(cli, ["plan", str(folder), "--json"])
    assert TEXT in json.loads(done.output)["notes"]
