"""One run at a time in a workspace, between real processes."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import lock_holder
import pytest

from ordain.errors import InfrastructureError
from ordain.runner.workspace_lock import workspace_lock


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts a process that holds the workspace until it is sent a line."""
    started = []

    def run(run_id: str, mode: str = "refuse") -> subprocess.Popen:
        process = lock_holder.start(tmp_path / "work", run_id, mode)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def hold(tmp_path: Path, run_id: str = "mine", wait: bool = False, on_wait=None):
    return workspace_lock(tmp_path / "work", run_id, wait, on_wait or (lambda _: None))


def test_a_second_run_is_refused_by_the_firsts_name(tmp_path, start):
    other = start("run-1")
    assert other.stdout.readline() == "holds\n"
    with pytest.raises(InfrastructureError) as caught, hold(tmp_path):
        pytest.fail("the workspace was given away twice")
    assert caught.value.message == (
        f"workspace {tmp_path / 'work'} is in use by run run-1 (process {other.pid})"
    )
    assert "--wait" in caught.value.hint
    other.communicate("end\n")
    with hold(tmp_path):
        pass


def test_a_waiting_run_reports_the_holder_and_runs_after_it(tmp_path, start):
    with hold(tmp_path, "run-1"):
        other = start("run-2", "wait")
        assert other.stdout.readline() == f"waits for run run-1 (process {os.getpid()})\n"
        # It has not got it: it would have said so at once.
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.3)
    assert other.stdout.readline() == "holds\n"
    holder = json.loads((tmp_path / "work" / ".lock.json").read_text())
    assert holder == {"run_id": "run-2", "pid": other.pid}


def test_a_killed_run_leaves_the_workspace_free(tmp_path, start):
    other = start("run-1")
    assert other.stdout.readline() == "holds\n"
    other.send_signal(signal.SIGKILL)
    other.wait()
    with hold(tmp_path):
        holder = json.loads((tmp_path / "work" / ".lock.json").read_text())
    assert holder["run_id"] == "mine"


def test_an_error_inside_frees_the_workspace(tmp_path, start):
    with pytest.raises(ZeroDivisionError), hold(tmp_path):
        raise ZeroDivisionError
    assert start("run-2").stdout.readline() == "holds\n"


def test_an_unreadable_holder_is_another_run(tmp_path, start):
    assert start("run-1").stdout.readline() == "holds\n"
    for content in (b"", b'{"run_id": "r', b"{}", b"\xff"):
        (tmp_path / "work" / ".lock.json").write_bytes(content)
        with pytest.raises(InfrastructureError, match="in use by another run"), hold(tmp_path):
            pass


def test_two_workspaces_do_not_wait_for_each_other(tmp_path, start):
    assert start("run-1").stdout.readline() == "holds\n"
    with workspace_lock(tmp_path / "other", "mine", False, lambda _: None):
        assert (tmp_path / "other" / ".lock.json").exists()


def test_a_workspace_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "work").write_text("a file")
    with pytest.raises(InfrastructureError, match=f"{tmp_path / 'work'} cannot be created"):
        with hold(tmp_path):
            pass


def test_a_full_disk_is_reported_and_frees_the_workspace(tmp_path, start):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".lock.json").symlink_to("/dev/full")
    with pytest.raises(InfrastructureError, match="No space left on device"), hold(tmp_path):
        pass
    (tmp_path / "work" / ".lock.json").unlink()
    assert start("run-2").stdout.readline() == "holds\n"
