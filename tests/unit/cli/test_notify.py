"""Notifications of commands run by hand: the real commands, up to where a run would begin."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ordain.cli.notify import notify
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
    """An entry of `notify` that appends to a file, and that file."""
    file = tmp_path / "received"
    script = f"cat >> {file}; echo >> {file}"
    return {"on": EVENTS, "command": ["/bin/sh", "-c", script]}, file


def received(path):
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line]


def run(*words):
    return subprocess.run([ORDAIN, *words], capture_output=True, text=True, check=False)


@pytest.mark.process
def test_a_run_is_notified_like_one_of_a_check(make_project, target):
    entry, file = target
    notify(make_project(notify=[entry]), NOW, [RUN], None)
    blessed, published = received(file)
    assert [blessed["id"], published["id"]] == ["run-1-blessed", "run-1-published"]
    assert published["at"] == "2026-06-01T12:00:00+00:00"
    assert published["decision"] == {}
    assert (published["exit_code"], published["headline"]) == (0, RUN["headline"])


@pytest.mark.process
def test_what_is_not_accepted_waits_for_the_next(make_project, target):
    entry, file = target
    failing = {"on": ["published"], "command": ["/bin/false"]}
    project = make_project(notify=[failing, entry])
    notify(project, NOW, [RUN], None)
    assert len(received(file)) == 2
    (waiting,) = outbox_of(project, lambda _: None).waiting()
    assert (waiting["body"]["event"], waiting["tries"]) == ("published", 1)


def test_a_disk_error_is_reported_and_ends_nothing(make_project, target, capsys):
    entry, file = target
    project = make_project(notify=[entry])
    project.home.parent.mkdir(parents=True, exist_ok=True)
    project.home.write_text("a file")
    notify(project, NOW, [RUN], None)
    assert "notifications could not be sent: " in capsys.readouterr().err
    assert received(file) == []


def test_without_notify_nothing_is_written(make_project):
    project = make_project()
    notify(project, NOW, [], InfrastructureError("the disk is full"))
    assert not (project.home / "schedule").exists()


@pytest.mark.parametrize("is_quiet", [False, True])
def test_a_run_that_cannot_begin_is_notified_as_failed(make_folder, target, is_quiet):
    entry, file = target
    folder = make_folder(notify=[entry])
    words = ["run", str(folder), "--span", "99", *(["--no-notify"] if is_quiet else [])]
    done = run(*words)
    assert done.returncode == 2, done.stderr
    found = [(n["event"], n["exit_code"], n["run"]) for n in received(file)]
    assert found == ([] if is_quiet else [("failed", 2, None)])
    if not is_quiet:
        assert received(file)[0]["headline"] in done.stderr


@pytest.mark.parametrize("is_quiet", [False, True])
def test_retraining_that_cannot_begin_is_notified_with_its_decision(
    make_folder, make_project, target, is_quiet
):
    entry, file = target
    project = make_project(notify=[entry])
    words = ["retrain", str(project.folder), *(["--no-notify"] if is_quiet else [])]
    with workspace_lock(project.workspace, "run-of-another", False, lambda _: None):
        done = run(*words)
    assert done.returncode == 5, done.stderr
    found = [(n["event"], n["decision"]["action"]) for n in received(file)]
    assert found == ([] if is_quiet else [("failed", "run")])


def test_a_dry_run_sends_nothing(make_project, target):
    entry, file = target
    project = make_project(notify=[entry])
    assert run("retrain", str(project.folder), "--dry-run").returncode == 0
    assert received(file) == []
    assert not project.home.exists()
