"""Locks of runs in pods, between real processes; a server's locks are in tests/integration."""

import subprocess
import sys
from pathlib import Path

import pytest

from ordain.errors import InfrastructureError
from ordain.runner.pod_lock import beside_pods
from ordain.runner.workspace_lock import workspace_lock

ROOT = Path(__file__).resolve().parents[3]
POD = """
import sys
from ordain.config.loading import load_project
from ordain.runner.pod_lock import beside_pods
def say(line):
    print(line, flush=True)
project = load_project(sys.argv[1])
with beside_pods(project, "run-1", say) as locks, locks.hold("toy", "run-1", sys.argv[2], say):
    say("holds")
    sys.stdin.readline()
"""


@pytest.fixture
def start():
    started = []

    def run(project, node):
        process = subprocess.Popen(
            [sys.executable, "-c", POD, str(project.folder), node],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def shared(make_project):
    """A project whose pods share its workspace: behind gRPC files have to do for locks."""
    return make_project(metadata="grpc://127.0.0.1:1")


def test_two_nodes_run_side_by_side_and_one_node_does_not_run_twice(shared, start):
    first, other = start(shared, "Trainer"), start(shared, "Baseline")
    assert first.stdout.readline() == other.stdout.readline() == "holds\n"
    again = start(shared, "Trainer")
    assert again.stdout.readline() == (
        "waiting for an earlier pod of Trainer, which is still running\n"
    )
    first.kill()
    first.wait()
    assert again.stdout.readline() == "holds\n"


def test_a_node_is_free_exactly_when_its_pod_is_dead(shared, start):
    pod = start(shared, "Trainer")
    assert pod.stdout.readline() == "holds\n"
    with beside_pods(shared, "run-2", print) as locks:
        with locks.attempt("toy", "run-1", "Trainer") as is_held:
            assert not is_held
        for place in (("toy", "run-1", "Tuner"), ("toy", "run-2", "Trainer")):
            with locks.attempt(*place) as is_held:
                assert is_held
        pod.kill()
        pod.wait()
        with locks.attempt("toy", "run-1", "Trainer") as is_held:
            assert is_held


def test_a_local_run_and_pods_keep_out_of_each_others_way(shared, start):
    with workspace_lock(shared.workspace, "local", False, print):
        pod = start(shared, "Trainer")
        said = f"waiting for workspace {shared.workspace}, which is in use\n"
        assert pod.stdout.readline() == said
    assert pod.stdout.readline() == "holds\n"
    with pytest.raises(InfrastructureError, match="is in use by"):
        with workspace_lock(shared.workspace, "local", False, print):
            pytest.fail("a pod holds the workspace")


def test_with_a_sqlite_file_one_task_runs_at_a_time(make_project, start):
    project = make_project()
    first = start(project, "Trainer")
    assert first.stdout.readline() == "holds\n"
    second = start(project, "Baseline")
    said = f"waiting for workspace {project.workspace}, which is in use\n"
    assert second.stdout.readline() == said
    first.communicate("end\n")
    assert second.stdout.readline() == "holds\n"


def test_a_volume_that_cannot_be_written_is_named(make_project, tmp_path):
    project = make_project()
    project.workspace.parent.mkdir(parents=True, exist_ok=True)
    project.workspace.write_text("a file")
    with pytest.raises(InfrastructureError, match=r"\.lock cannot be opened"):
        with beside_pods(project, "run-1", print):
            pass
