"""One run at a time in a workspace, and in a database; a crashed run leaves no stale lock.

The workspace's lock is a `flock` (through filelock), which the operating system releases when the
process ends in any way; `.lock.json` beside it names the holder. If ML Metadata is in PostgreSQL,
which several machines may share, the run also holds a lock of the server for as long as the
connection lives (`ordain.metadata.postgres`). If the connection breaks during the run, another run
may take the database; hence `RunLocks.check` before each launch.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from ordain.common.json_files import read_json
from ordain.errors import InfrastructureError
from ordain.metadata.location import Location
from ordain.metadata.postgres import DatabaseLocks, database_locks

_NEXT = "wait for it (ordain run --wait), or use another workspace (--set workspace=...)"


class RunLocks:
    """The locks of a run while `workspace_lock` is entered."""

    def __init__(self, database: DatabaseLocks | None) -> None:
        """Takes the locks of the database; None if it has none."""
        self._database = database

    def check(self) -> None:
        """Checks that the database is still locked; a file lock cannot be lost.

        Raises:
            InfrastructureError: The connection that holds its lock broke.
        """
        if self._database is not None:
            self._database.check()


@contextlib.contextmanager
def workspace_lock(
    workspace: Path,
    run_id: str,
    wait: bool,
    on_wait: Callable[[str], None],
    metadata: Location | None = None,
) -> Iterator[RunLocks]:
    """Locks the workspace, and the database of its ML Metadata, for one run.

    Args:
        workspace: The workspace; created if it does not exist.
        run_id: The run.
        wait: Whether to wait while another run holds the lock; otherwise that is an error.
        on_wait: Called with the holder's description before waiting.
        metadata: Location of ML Metadata; a file needs no lock of its own.

    Yields:
        The locks, to be checked before each launch.

    Raises:
        InfrastructureError: Another run holds it and `wait` is False, the workspace cannot be
            written, or the database cannot be reached.
    """

    def refuse_or_wait(place: str, holder: str) -> None:
        if not wait:
            raise InfrastructureError(f"{place} is in use by {holder}", _NEXT)
        on_wait(holder)

    about = {"run_id": run_id, "pid": os.getpid()}
    doing = "created"
    with contextlib.ExitStack() as stack:
        try:
            workspace.mkdir(parents=True, exist_ok=True)
            doing = "locked"
            lock = filelock.FileLock(workspace / ".lock")
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                refuse_or_wait(f"workspace {workspace}", _holder(workspace))
                lock.acquire()
            stack.callback(lock.release)
            doing = "written"
            (workspace / ".lock.json").write_text(json.dumps(about), encoding="utf-8")
        except OSError as error:
            raise InfrastructureError(
                f"workspace {workspace} cannot be {doing}: {error}"
            ) from error
        locks = None
        if metadata is not None:
            locks = stack.enter_context(database_locks(metadata, run_id))
        if locks is not None and not locks.try_lock():
            refuse_or_wait(f"database {metadata}", locks.holder())
            locks.wait_lock()
        yield RunLocks(locks)


def _holder(workspace: Path) -> str:
    about = read_json(workspace / ".lock.json") or {}
    return (
        f"run {about['run_id']} (process {about['pid']})"
        if {"run_id", "pid"} <= about.keys()
        else "another run"
    )
