"""`ordain gc` on runs that really ran, killed between its steps, and a run after it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from sandbox import Sandbox, states

from ordain.errors import ConfigError
from ordain.history.gc import REMOVED_PREFIX
from ordain.metadata.store import open_store

ROOT = Path(__file__).resolve().parents[2]
#: Kills itself with -9 after the step it is told.
KILLED = """
import os, signal, sys
from ordain.history import gc as garbage
from ordain.cli.main import main

step = sys.argv.pop(1)
module, name = {"mark": (garbage, "mark"), "hide": (garbage, "hide"),
                "rename": (garbage.Path, "rename"),
                "rmtree": (garbage.shutil, "rmtree")}[step]
original = getattr(module, name)
if step == "rmtree":  # others remove temporary folders with it
    from types import SimpleNamespace
    garbage.shutil = module = SimpleNamespace(rmtree=original)

def last(*args, **options):
    original(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(module, name, last)
main()
"""


def gc(project: Sandbox, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "ordain.cli.main", "gc", str(project.folder), "--json", *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def live_and_deleted(project: Sandbox) -> tuple[dict[str, str], dict[str, str]]:
    """Type by folder of the artifacts that ML Metadata says are there, and are removed.

    Published versions that were a baseline are left out: `ordain models prune` removes those.
    """
    store = open_store(project.folder / "var/metadata.sqlite", project.paths)
    artifacts = [a for a in store.get_artifacts() if "/var/serving/" not in a.uri]
    found = [
        {a.uri: a.type for a in artifacts if a.state == state}
        for state in (pb.Artifact.LIVE, pb.Artifact.DELETED)
    ]
    return found[0], found[1]


def check_folders(project: Sandbox) -> None:
    """What ML Metadata calls live is there; nothing that is there looks alive and is not."""
    live, deleted = live_and_deleted(project)
    assert [uri for uri in live if not Path(uri).exists()] == []
    assert [uri for uri in deleted if Path(uri).exists()] == []
    assert list(project.folder.glob(f"var/small/**/{REMOVED_PREFIX}*")) == []


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """Three published models, each of other settings, and a cached run."""
    from sandbox import PROJECTS, good_rows, write_csv

    folder = tmp_path_factory.mktemp("gc") / "small"
    shutil.copytree(PROJECTS / "small", folder)
    sandbox = Sandbox(folder)
    sandbox.set(evaluate={"thresholds": {"auc": {"min": 0.01}}})
    write_csv(folder / "data" / "1" / "rows.csv", good_rows(), ["x", "c", "y"])
    for steps in (30, 31, 32):
        assert sandbox.run(f"train.steps={steps}").exit_code == 0
    assert sandbox.run("train.steps=32").exit_code == 0
    return sandbox


@pytest.fixture
def project(history: Sandbox, tmp_path: Path) -> Sandbox:
    """A copy of it."""
    shutil.copytree(history.folder, tmp_path / "small")
    return Sandbox(tmp_path / "small")


KEEP_ONE = ("--keep-runs", "1", "--keep-days", "0")


def unpublish(project: Sandbox, *versions: int) -> None:
    """As `ordain models prune` leaves the serving directory."""
    for version in versions:
        shutil.rmtree(project.folder / f"var/serving/small/{version}")


def test_what_published_versions_were_made_of_stays(project: Sandbox) -> None:
    told = gc(project, *KEEP_ONE)
    # The summaries of a training are an input of nothing.
    assert [a["type"] for a in told["artifacts"]] == ["ModelRun", "ModelRun"]
    # Its three publishers' folders stay too; the cached run is the one that is kept.
    assert told["runs"] == []
    check_folders(project)


def test_a_dry_run_removes_nothing_and_says_what_it_would(project: Sandbox) -> None:
    unpublish(project, 1)
    before, _ = live_and_deleted(project)
    told = gc(project, *KEEP_ONE, "--dry-run")
    assert told["is_dry_run"] and told["artifacts"] and told["runs"]
    assert live_and_deleted(project) == (before, {})
    real = gc(project, *KEEP_ONE)
    assert (real["artifacts"], real["runs"]) == (told["artifacts"], told["runs"])
    assert (
        real["size_bytes"] == told["size_bytes"] > sum(a["size_bytes"] for a in real["artifacts"])
    )


def test_what_only_an_old_run_made_goes_and_a_later_run_makes_it_again(project: Sandbox) -> None:
    unpublish(project, 1, 2)
    told = gc(project, *KEEP_ONE)
    removed = {a["type"] for a in told["artifacts"]}
    assert "Model" in removed
    # The data and what was found out about it is the same in all runs, so it is kept.
    assert removed.isdisjoint({"Examples", "ExampleStatistics", "Schema", "TransformGraph"})
    assert told["size_bytes"] > 0
    assert len(told["runs"]) == 2
    check_folders(project)

    kept = project.run("train.steps=32")
    assert set(states(kept).values()) == {"cached", "complete"}
    assert states(kept)["Trainer"] == "cached"
    gone = project.run("train.steps=30")
    assert states(gone)["Transform"] == "cached"
    assert states(gone)["Trainer"] == "complete"
    assert gone.exit_code == 0


@pytest.mark.parametrize("step", ["mark", "rename", "hide", "rmtree"])
def test_killed_after_a_step_it_leaves_nothing_that_looks_alive(
    project: Sandbox, step: str
) -> None:
    unpublish(project, 1, 2)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, step, "gc", str(project.folder), *KEEP_ONE],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    live, deleted = live_and_deleted(project)
    assert deleted
    assert [uri for uri in live if not Path(uri).exists()] == []

    told = gc(project, *KEEP_ONE)

    assert told["artifacts"] == []
    assert told["unfinished"]
    check_folders(project)


def test_what_was_removed_is_not_taken_over_by_from(project: Sandbox) -> None:
    unpublish(project, 1, 2)
    store = open_store(project.folder / "var/metadata.sqlite", project.paths)
    models = store.get_artifacts_by_type("Model")
    for model in models:
        model.state = pb.Artifact.DELETED
    store.put_artifacts(models)
    with pytest.raises(ConfigError, match="the last output of Trainer was removed by ordain gc"):
        project.run("train.steps=32", from_node="Evaluator")
