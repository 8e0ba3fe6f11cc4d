"""The run plan: written once by prepare, verified against its checksum by every other task."""

import json
from pathlib import Path

import pytest

from ordain.errors import ConfigError, InfrastructureError
from ordain.history.results import Recovered
from ordain.kubeflow.pod.run_plan import (
    FILE,
    PreparedRun,
    check_run_id,
    find_plan,
    read_prepared,
    write_prepared,
)

PREPARED = PreparedRun(
    run_id="run-1",
    folder="/project",
    env=None,
    config={"name": "toy", "metadata": "postgresql://ada:${env:SECRET}@db/ml"},
    spans=(1, 2),
    ir={"nodes": [{"pipeline_node": {"node_info": {"id": "ExampleGen"}}}]},
    notes=("no baseline: it is the first",),
    recovered=(Recovered("run-0", ("Trainer",), (7,), 1),),
)


def test_what_is_written_is_read(tmp_path):
    plan = write_prepared(PREPARED, tmp_path)
    assert json.loads(plan)["spans"] == [1, 2]
    assert read_prepared(plan, "run-1") == PREPARED
    # A retried prepare finds the same plan, word for word.
    assert find_plan(tmp_path, "run-1") == plan
    assert find_plan(tmp_path, "run-2") is None
    assert [p.name for p in (tmp_path / "run-1").iterdir()] == [FILE]


def test_a_file_that_was_changed_since_is_refused(tmp_path):
    plan = write_prepared(PREPARED, tmp_path)
    path = tmp_path / "run-1" / FILE
    path.write_text(path.read_text().replace('"ExampleGen"', '"ExampleGan"'))
    with pytest.raises(InfrastructureError, match="the file was changed"):
        read_prepared(plan, "run-1")


def test_a_volume_that_is_not_mounted_is_reported(tmp_path):
    plan = write_prepared(PREPARED, tmp_path)
    (tmp_path / "run-1" / FILE).unlink()
    with pytest.raises(InfrastructureError, match=r"cannot be read: No such file") as caught:
        read_prepared(plan, "run-1")
    assert "every task needs the volume" in caught.value.hint


def test_another_runs_plan_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--plan is of run run-1, --run-id is run-2"):
        read_prepared(write_prepared(PREPARED, tmp_path), "run-2")


@pytest.mark.parametrize("plan", ["", "{}", "[]", "null", '{"uri": 1}', "no json"])
def test_what_is_no_plan_is_refused(plan):
    with pytest.raises(ConfigError, match="not a plan written by prepare"):
        read_prepared(plan, "run-1")


def test_the_file_of_another_image_is_refused(tmp_path):
    write_prepared(PREPARED, tmp_path)
    path = tmp_path / "run-1" / FILE
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(ConfigError, match="format 99, this image reads format 1"):
        find_plan(tmp_path, "run-1")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(
        InfrastructureError, match=f"{tmp_path}/runs/run-1/{FILE} cannot be written"
    ):
        write_prepared(PREPARED, tmp_path / "runs")


@pytest.mark.parametrize("run_id", ["", ".", "../up", "a/b", "-x", "x" * 129, "a b", "{{$.x}}"])
def test_a_run_id_is_a_folders_name(run_id):
    with pytest.raises(ConfigError, match="--run-id"):
        check_run_id(run_id)
    assert check_run_id("6e6b5a3e-1d4f-4f0e-9a57-0f8d6a2b7f10")


def test_the_projects_references_are_looked_up_in_the_pod(make_folder, monkeypatch):
    folder = make_folder()
    config = {
        "name": "toy",
        "workspace": "${env:WHERE}",
        "data": {"path": "data", "pattern": "{SPAN}/*.csv", "label": "y"},
        "evaluate": {"metrics": ["AUC"], "thresholds": {"auc": {"min": 0.5}}},
    }
    prepared = PreparedRun("run-1", str(folder), None, config, (1,), {})
    monkeypatch.delenv("WHERE", raising=False)
    with pytest.raises(ConfigError, match="environment variable WHERE is not set"):
        prepared.load_project()
    monkeypatch.setenv("WHERE", "/work")
    assert prepared.load_project().workspace == Path("/work")
