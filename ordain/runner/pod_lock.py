"""Locks of runs in pods: many tasks at once, none beside a local run, no node twice.

A local run locks its workspace and its database exclusively (`ordain.runner.workspace_lock`). A
task in a pod shares both locks with other tasks, and locks its own node of its own run exclusively,
so that a pod that was wrongly given up cannot write beside its successor. All locks end with the
process, so an execution that is active while its node is not locked belongs to a dead pod
(`ordain.history.recovery`).

| ML Metadata | shared locks | lock of a node |
|---|---|---|
| PostgreSQL | a file lock on the workspace, and the server's lock | the server's lock |
| gRPC | a file lock on the workspace | a file lock in the run's folder |
| a SQLite file | none: one task at a time locks the workspace | the same |

File locks apply between machines only if the volume supports that.
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
    """Shares the locks of the workspace and the database with tasks of any run.

    Waits while a local run has them.

    Args:
        project: The project.
        run_id: The run.
        say: Called with a line before waiting.

    Yields:
        The locks of nodes, and of the database's tables.

    Raises:
        InfrastructureError: The workspace cannot be locked, or the database cannot be reached.
    """
    is_shared = not isinstance(project.metadata, Path)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_workspace(project.workspace, is_shared, say))
        server = stack.enter_context(database_locks(project.metadata, run_id))
        if server is not None and not server.try_lock(is_shared=True):
            say(f"waiting for {server.holder()}")
            server.wait_lock(is_shared=True)
        yield NodeLocks(project.workspace, server, is_alone=not is_shared)


class NodeLocks:
    """Locks of single nodes of single runs."""

    def __init__(self, workspace: Path, server: DatabaseLocks | None, is_alone: bool) -> None:
        """Takes the places of the locks.

        Args:
            workspace: The workspace.
            server: The server's locks; None to use file locks.
            is_alone: Whether the workspace is locked exclusively, so that no other task lives.
        """
        self._workspace = workspace
        self._server = server
        self._is_alone = is_alone

    @contextlib.contextmanager
    def attempt(self, pipeline: str, run_id: str, node: str) -> Iterator[bool]:
        """Locks a node of a run while entered, unless another process has.

        Yields:
            True if it is locked for this process.
        """
        if self._is_alone:
            yield True
        elif self._server is None:
            folder = self._workspace / pipeline / "runs" / run_id / ".locks"
            with _attempt_file(folder / node) as is_locked:
                yield is_locked
        else:
            with self._server.try_node(f"{pipeline}/{run_id}/{node}") as is_locked:
                yield is_locked

    @contextlib.contextmanager
    def hold(self, pipeline: str, run_id: str, node: str, say: Say) -> Iterator[None]:
        """Locks a node of a run while entered; waits for an earlier pod of it to end."""
        has_said = False
        while True:
            with self.attempt(pipeline, run_id, node) as is_locked:
                if is_locked:
                    yield
                    return
            if not has_said:
                say(f"waiting for an earlier pod of {node}, which is still running")
                has_said = True
            time.sleep(_PAUSE_S)

    @contextlib.contextmanager
    def tables(self) -> Iterator[None]:
        """Locks the creation of tables and types while entered."""
        if self._server is not None:
            with self._server.tables():
                yield
            return
        with _opened(self._workspace / ".tables.lock") as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield


@contextlib.contextmanager
def _workspace(workspace: Path, is_shared: bool, say: Say) -> Iterator[None]:
    """Takes the lock of `ordain.runner.workspace_lock` (`flock`, as filelock does)."""
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
def _opened(path: Path) -> Iterator[int]:
    """Opens a file to lock; closing it releases the lock."""
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
