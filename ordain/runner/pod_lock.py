"""The locks of runs in pods: many tasks at once, none beside a local run, no node twice.

A local run holds its workspace and its database alone (`ordain.runner.workspace_lock`). A task in a
pod holds both in common with other tasks, and its own node of its own run alone: a pod that was
taken for lost and is not cannot write beside its successor. All of it ends with the process,
however it ends, so an execution that is active while nobody holds its node is a dead pod's
(`ordain.history.recovery`).

| ML Metadata | in common | a node |
|---|---|---|
| PostgreSQL | a file lock on the workspace, and the server's lock | the server's lock |
| gRPC | a file lock on the workspace | a file lock in the run's folder |
| a SQLite file | not at all: one task at a time holds the workspace | the same |

File locks hold between machines as far as the volume carries them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ordain.config.project import Project
from ordain.errors import InfrastructureError
from ordain.metadata.postgres import DatabaseLocks, database_locks

Say = Callable[[str], None]
_PAUSE_S = 0.5


@contextlib.contextmanager
def beside_pods(project: Project, run_id: str, say: Say) -> Iterator[NodeLocks]:
    """Holds the workspace and the database in common with other tasks, of whatever run.

    Waits while a local run holds them.

    Args:
        project: The project.
        run_id: The run.
        say: Is told what is waited for.

    Yields:
        The locks of nodes, and of the database's tables.

    Raises:
        InfrastructureError: The workspace cannot be locked, or the database not be reached.
    """
    is_shared = not isinstance(project.metadata, Path)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_workspace(project.workspace, is_shared, say))
        server = stack.enter_context(database_locks(project.metadata, run_id))
        if server is not None and not server.try_shared():
            say(f"waiting for {server.holder()}")
            server.wait_shared()
        yield NodeLocks(project.workspace, server, is_alone=not is_shared)


class NodeLocks:
    """Locks of single nodes of single runs."""

    def __init__(self, workspace: Path, server: DatabaseLocks | None, is_alone: bool) -> None:
        """Takes what holds the locks.

        Args:
            workspace: The workspace.
            server: The server's locks; None where files have to do.
            is_alone: Whether the workspace is held alone, so that no other task lives.
        """
        self._workspace = workspace
        self._server = server
        self._is_alone = is_alone

    @contextlib.contextmanager
    def attempt(self, pipeline: str, run_id: str, node: str) -> Iterator[bool]:
        """Takes a node of a run of a pipeline if nobody holds it.

        Yields:
            Whether it was taken; then nobody else has it inside.
        """
        if self._is_alone:
            yield True
        elif self._server is None:
            folder = self._workspace / pipeline / "runs" / run_id / ".locks"
            with _attempt_file(folder / node) as is_held:
                yield is_held
        else:
            with self._server.try_node(f"{pipeline}/{run_id}/{node}") as is_held:
                yield is_held

    @contextlib.contextmanager
    def hold(self, pipeline: str, run_id: str, node: str, say: Say) -> Iterator[None]:
        """Holds a node of a run; waits for an earlier pod of it to end."""
        is_told = False
        while True:
            with self.attempt(pipeline, run_id, node) as is_held:
                if is_held:
                    yield
                    return
            if not is_told:
                say(f"waiting for an earlier pod of {node}, which is still running")
                is_told = True
            time.sleep(_PAUSE_S)

    @contextlib.contextmanager
    def tables(self) -> Iterator[None]:
        """Holds the making of tables and types."""
        if self._server is not None:
            with self._server.tables():
                yield
            return
        with _locked(self._workspace / ".tables.lock", fcntl.LOCK_EX):
            yield


@contextlib.contextmanager
def _workspace(workspace: Path, is_shared: bool, say: Say) -> Iterator[None]:
    """The lock that `ordain.runner.workspace_lock` holds alone (`flock`, as filelock takes it)."""
    kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
    with _opened(workspace / ".lock") as descriptor:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for workspace {workspace}, which is in use")
            fcntl.flock(descriptor, kind)
        yield


@contextlib.contextmanager
def _attempt_file(path: Path) -> Iterator[bool]:
    with _opened(path) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@contextlib.contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    with _opened(path) as descriptor:
        fcntl.flock(descriptor, kind)
        yield


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """An open file to lock; closing it gives the lock back."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be opened: {error.strerror}",
            "mount a volume that every task can write (docs/kubeflow-pods.md)",
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
