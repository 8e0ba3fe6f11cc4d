"""Runs that are killed with -9 inside a node, and the run after them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb
from sandbox import Sandbox

from ordain.history.recovery import CLOSED_PROPERTY
from ordain.history.runs import History
from ordain.metadata.store import connection_config

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests" / "support" / "paused_runs.py"
#: In the order of the chain, so that each run goes on where the one before was killed.
KILLED_IN = ["ExampleGen-", "ExampleGen", "Transform", "Trainer-", "Evaluator", "Pusher"]


def kill_runs(project: Sandbox, folder: Path, *nodes: str) -> list[str]:
    """Kills a run in each node, then lets one end; returns what each printed."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(project.folder), str(folder), *nodes],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    texts = [(folder / f"{i}.txt").read_text() for i in range(len(nodes) + 1)]
    assert json.loads(done.stdout.splitlines()[-1]) == [-9] * len(nodes) + [0], texts
    return texts


def test_a_run_after_killed_ones_loses_nothing_and_publishes_nothing_twice(
    small: Callable[..., Sandbox], tmp_path: Path
) -> None:
    # Whether the model is good is not the question: its weights begin at random.
    project = small(evaluate={"thresholds": {"auc": {"min": 0.01}}})
    out = tmp_path / "out"
    out.mkdir()

    texts = kill_runs(project, out, *KILLED_IN)

    assert project.versions == ["1"]
    labels = json.loads((project.folder / "var/serving/small/labels.json").read_text())
    assert labels["stable"] == 1
    assert [change["action"] for change in labels["changes"]] == ["publish"]
    history = History(project.folder / "var/metadata.sqlite", "small", project.paths)
    runs = list(reversed(history.list_runs()))
    assert len(runs) == len(KILLED_IN) + 1

    store = mlmd.MetadataStore(connection_config(project.folder / "var/metadata.sqlite"))
    executions = store.get_executions()
    active = [
        e for e in executions if e.last_known_state in (pb.Execution.NEW, pb.Execution.RUNNING)
    ]
    assert active == []
    closed = [e for e in executions if CLOSED_PROPERTY in e.custom_properties]
    assert len(closed) == len(KILLED_IN)
    assert {e.last_known_state for e in closed} == {pb.Execution.FAILED}

    for number, node in enumerate(KILLED_IN):
        name = node.rstrip("-")
        told = f"closed run {runs[number].id}, which ended without closing {name}"
        dead = history.read_run(runs[number].id).nodes[-1]
        assert (dead.node, dead.state) == (name, "failed")
        # Killed in the middle of one, the next run says so, unless it was killed as well.
        results = [
            json.loads(p.read_text()) for p in project.folder.glob("var/small/runs/*/result.json")
        ]
        assert len(results) == 1
        if number == len(KILLED_IN) - 1:
            assert told in texts[-1]
            (recovered,) = results[0]["recovered"]
            assert recovered["run_id"] == runs[number].id
            assert recovered["nodes"] == [name]
            assert recovered["execution_ids"] == [dead.execution_id]
        leftovers = project.folder.glob(f"var/small/artifacts/{name}/*/{dead.execution_id}")
        assert list(leftovers) == []
        system = project.folder / f"var/small/artifacts/{name}/.system"
        assert not (system / "executor_execution" / str(dead.execution_id)).exists()

    states = {node["node"]: node["state"] for node in results[0]["nodes"]}
    looked_up = {"AnalyzerCache": "complete", "Baseline": "complete", "Pusher": "complete"}
    assert states == dict.fromkeys(states, "cached") | looked_up
    assert (results[0]["version"], results[0]["is_stable"]) == (1, True)

    again = project.run()
    assert (int(again.exit_code), again.is_new_version, again.recovered) == (0, False, ())
    assert project.versions == ["1"]
