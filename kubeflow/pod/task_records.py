"""Records how each task of a run ended, in one small file per task in the run's folder.

ML Metadata does not store why an execution failed, nor tasks that ended before they had one. A
record that is still `begun` after the run belongs to a task that was killed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from ordain.common.atomic_files import write_file
from ordain.errors import ExitCode, InfrastructureError, OrdainError
from ordain.history.results import Failure, NodeResult
from ordain.storage import artifact_store

FOLDER = "tasks"
BEGUN, ENDED, FAILED = "begun", "ended", "failed"
_READ_LOG = "read the task's log and its pod's state in Kubeflow"


@dataclass(frozen=True)
class Record:
    """The record of a task's last attempt.

    Attributes:
        state: `begun`, `ended` or `failed`.
        failure: Why it failed; None if unknown or not failed.
        node: The node's result, if the node failed.
    """

    state: str
    failure: Failure | None = None
    node: NodeResult | None = None

    @property
    def is_done(self) -> bool:
        """True if its last attempt succeeded."""
        return self.state == ENDED


_RECORD = TypeAdapter(Record)


class Recorder:
    """The record of a task that is running."""

    def __init__(self, path: Path) -> None:
        """Records the start."""
        self._path = path
        self.is_over = False
        self._write(Record(BEGUN))

    def end(self) -> None:
        """Records success."""
        self._write(Record(ENDED))
        self.is_over = True

    def fail(self, failure: Failure, node: NodeResult | None = None) -> None:
        """Records a failure."""
        self._write(Record(FAILED, failure, node))
        self.is_over = True

    def _write(self, record: Record) -> None:
        write_file(self._path, _RECORD.dump_json(record, indent=1).decode() + "\n")
        artifact_store.current().push(self._path)


@contextlib.contextmanager
def recorded(run: Path, task: str) -> Iterator[Recorder]:
    """Records a task of a run: success unless it calls `fail` or raises.

    Args:
        run: The run's folder.
        task: The node's id, or the task's name.

    Raises:
        InfrastructureError: The record cannot be written.
    """
    recorder = Recorder(_path(run, task))
    try:
        yield recorder
        if not recorder.is_over:
            recorder.end()
    except OrdainError as error:
        failure = Failure(task, error.message, error.hint or _READ_LOG, int(error.exit_code))
        # The volume itself may have failed; the error says so.
        with contextlib.suppress(InfrastructureError):
            recorder.fail(failure)
        raise
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        with contextlib.suppress(InfrastructureError):
            recorder.fail(Failure(task, message, _READ_LOG, int(ExitCode.NODE_FAILED)))
        raise


def read_record(run: Path, task: str) -> Record | None:
    """Reads the record of a task; None if there is none or it cannot be read."""
    try:
        return _RECORD.validate_json(_path(run, task).read_bytes())
    except (OSError, ValueError):
        return None


def killed(task: str) -> Failure:
    """The failure of a task that started and never recorded its end."""
    return Failure(
        task,
        "its task was killed: out of memory, past its time limit, cancelled, or lost with its node",
        _READ_LOG,
        int(ExitCode.INFRASTRUCTURE),
    )


def never_began(task: str) -> Failure:
    """The failure of a task without any record."""
    return Failure(
        task,
        "its task never started: no pod, no image, no volume, or an error at its start",
        _READ_LOG,
        int(ExitCode.INFRASTRUCTURE),
    )


def _path(run: Path, task: str) -> Path:
    return run / FOLDER / f"{task}.json"
