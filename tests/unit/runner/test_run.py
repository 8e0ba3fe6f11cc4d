"""The run's folder keeps the configuration that the run was started with."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ordain.config.loading import load_project
from ordain.errors import OrdainError
from ordain.runner.local import Options, new_run_id
from ordain.runner.run import plan_and_run
from ordain.runner.workspace_lock import workspace_lock


class Ended(OrdainError):
    """Ends a run before its first node, where its pipeline would be loaded."""


@contextlib.contextmanager
def ended():
    raise Ended("before the first node")
    yield


def edit(folder: Path) -> None:
    path = folder / "pipeline.yaml"
    path.write_text(path.read_text().replace("steps: 7", "steps: 8"))


def edit_the_overlay(folder: Path) -> None:
    (folder / "pipeline.prod.yaml").write_text("data: {window: 1}\n")


def remove(folder: Path) -> None:
    for path in folder.glob("pipeline*.yaml"):
        path.unlink()


@pytest.mark.parametrize("change", [edit, edit_the_overlay, remove])
def test_a_change_of_the_files_while_a_run_starts(
    make_folder: Callable[..., Path], change: Callable[[Path], None], monkeypatch
) -> None:
    monkeypatch.setenv("ORDAIN_TEST_KEY", "hush-hush")
    folder = make_folder(train={"steps": 7, "parameters": {"key": "${env:ORDAIN_TEST_KEY}"}})
    (folder / "pipeline.prod.yaml").write_text("data: {window: 3}\n")
    project, run_id = load_project(folder, "prod", ["train.eval_steps=5"]), new_run_id()

    with (
        workspace_lock(project.workspace, run_id, False, print, project.metadata) as hold,
        pytest.raises(Ended),
    ):
        plan_and_run(
            project, run_id, None, Options(), ended(), hold, on_plan=lambda _: change(folder)
        )

    kept = yaml.safe_load((project.runs / run_id / "pipeline.yaml").read_text())
    assert kept["train"] == {
        "steps": 7,
        "eval_steps": 5,
        "parameters": {"key": "${env:ORDAIN_TEST_KEY}"},
    }
    assert kept["data"]["window"] == 3
