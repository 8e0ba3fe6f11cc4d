"""What was started by hand is told, too: by the real commands, up to where a run would begin."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ordain.cli.notify import tell
from ordain.errors import InfrastructureError
from ordain.runner.workspace_lock import workspace_lock
from ordain.scheduling.status import outbox_of

ORDAIN = Path(sys.executable).with_name("ordain")
NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
EVENTS = ["blocked", "failed", "blessed", "published"]
RUN = {
    "run_id": "run-1",
    "headline": "the model passed every gate and is version 1, stable",
    "exit_code": 0,
    "is_new_version": True,
    "verdicts": [{"gate": "evaluation", "outcome": "passed", "reasons": []}],
    "nodes": [{"node": "Evaluator", "state": "complete"}],
}


@pytest.fixture
def target(tmp_path):
    """An entry of `notify` that keeps what it is told, and the file it keeps it in."""
    told = tmp_path / "told"
    script = f"cat >> {told}; echo >> {told}"
    return {"on": EVENTS, "command": ["/bin/sh", "-c", script]}, told


def told_by(path):
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line]


def run(*words):
    return subprocess.run([ORDAIN, *words], capture_output=True, text=True, check=False)


@pytest.mark.process
def test_a_run_is_told_as_a_look_tells_it(make_project, target):
    entry, told = target
    tell(make_project(notify=[entry]), NOW, [RUN], None)
    blessed, published = told_by(told)
    assert [blessed["id"], published["id"]] == ["run-1-blessed", "run-1-published"]
    assert published["at"] == "2026-06-01T12:00:00+00:00"
    assert published["decision"] == {}
    assert (published["exit_code"], published["headline"]) == (0, RUN["headline"])


@pytest.mark.process
def test_what_is_not_taken_waits_for_the_next(make_project, target):
    entry, told = target
    failing = {"on": ["published"], "command": ["/bin/false"]}
    project = make_project(notify=[failing, entry])
    tell(project, NOW, [RUN], None)
    assert len(told_by(told)) == 2
    (waiting,) = outbox_of(project, lambda _: None).waiting()
    assert (waiting["body"]["event"], waiting["tries"]) == ("published", 1)


def test_a_disk_that_takes_no_notice_is_said_and_ends_nothing(make_project, target, capsys):
    entry, told = target
    project = make_project(notify=[entry])
    project.home.parent.mkdir(parents=True, exist_ok=True)
    project.home.write_text("a file")
    tell(project, NOW, [RUN], None)
    assert "nobody was told: " in capsys.readouterr().err
    assert told_by(told) == []


def test_without_notify_nothing_is_written(make_project):
    project = make_project()
    tell(project, NOW, [], InfrastructureError("the disk is full"))
    assert not (project.home / "schedule").exists()


@pytest.mark.parametrize("is_quiet", [False, True])
def test_a_run_that_cannot_begin_is_told_as_failed(make_folder, target, is_quiet):
    entry, told = target
    folder = make_folder(notify=[entry])
    words = ["run", str(folder), "--span", "99", *(["--no-notify"] if is_quiet else [])]
    done = run(*words)
    assert done.returncode == 2, done.stderr
    found = [(n["event"], n["exit_code"], n["run"]) for n in told_by(told)]
    assert found == ([] if is_quiet else [("failed", 2, None)])
    if not is_quiet:
        assert told_by(told)[0]["headline"] in done.stderr


@pytest.mark.parametrize("is_quiet", [False, True])
def test_retraining_that_cannot_begin_is_told_with_its_decision(
    make_folder, make_project, target, is_quiet
):
    entry, told = target
    project = make_project(notify=[entry])
    words = ["retrain", str(project.folder), *(["--no-notify"] if is_quiet else [])]
    with workspace_lock(project.workspace, "run-of-another", False, lambda _: None):
        done = run(*words)
    assert done.returncode == 5, done.stderr
    found = [(n["event"], n["decision"]["action"]) for n in told_by(told)]
    assert found == ([] if is_quiet else [("failed", "run")])


def test_a_dry_run_tells_nobody(make_project, target):
    entry, told = target
    project = make_project(notify=[entry])
    assert run("retrain", str(project.folder), "--dry-run").returncode == 0
    assert told_by(told) == []
    assert not project.home.exists()
