"""Records of a task: at its start, at success, and at each kind of failure."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ordain.errors import ConfigError, InfrastructureError
from ordain.history.results import Failure, NodeResult
from ordain.kubeflow.pod.result_builder import task_failure
from ordain.kubeflow.pod.task_records import FOLDER, read_record, recorded

ROOT = Path(__file__).resolve().parents[4]
FAILURE = Failure("Trainer, span 2", "it fell", "read the log", 1)


def test_a_task_that_never_began_has_none(tmp_path):
    assert read_record(tmp_path, "Trainer") is None
    assert task_failure(tmp_path, "Trainer") is None


def test_a_good_end(tmp_path):
    with recorded(tmp_path, "Trainer"):
        assert read_record(tmp_path, "Trainer").state == "begun"
    assert read_record(tmp_path, "Trainer").is_done
    assert task_failure(tmp_path, "Trainer") is None


def test_a_failure_is_read_back_unchanged(tmp_path):
    node = NodeResult("Trainer", "failed", 1.5, reason="it fell", execution_ids=(3, 4), cpu_s=2.0)
    with recorded(tmp_path, "Trainer") as record:
        record.fail(FAILURE, node)
    found = read_record(tmp_path, "Trainer")
    assert (found.state, found.failure, found.node) == ("failed", FAILURE, node)


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (ConfigError("no such node", "do this"), "no such node", 2),
        (InfrastructureError("no database"), "no database", 5),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero", 1),
    ],
)
def test_an_error_is_recorded_and_goes_on(tmp_path, error, message, code):
    with pytest.raises(type(error)), recorded(tmp_path, "Trainer"):
        raise error
    failure = task_failure(tmp_path, "Trainer")
    assert (failure.node, failure.message, failure.exit_code) == ("Trainer", message, code)
    assert failure.hint == ("do this" if code == 2 else failure.hint) != ""


def test_a_killed_task_left_that_it_had_begun(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; "
        "from ordain.kubeflow.pod.task_records import recorded; "
        "recorded(Path(sys.argv[1]), 'Trainer').__enter__(); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    try:
        while not (tmp_path / FOLDER / "Trainer.json").exists():
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    failure = task_failure(tmp_path, "Trainer")
    assert "its task was killed" in failure.message
    assert failure.exit_code == 5
    # A later try is another story.
    with recorded(tmp_path, "Trainer"):
        pass
    assert task_failure(tmp_path, "Trainer") is None


def test_an_invalid_record_is_none(tmp_path):
    path = tmp_path / FOLDER / "Trainer.json"
    path.parent.mkdir()
    for text in ("", "[]", '{"state": "failed", "failure": {"a": 1}}'):
        path.write_text(text)
        assert read_record(tmp_path, "Trainer") is None


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / FOLDER).touch()
    with pytest.raises(InfrastructureError, match="cannot be written"), recorded(tmp_path, "T"):
        raise AssertionError("not reached")
