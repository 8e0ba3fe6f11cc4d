"""One run at a time in a workspace, and in a database; a crashed run leaves no stale lock.

The operating system holds the workspace's lock (`flock` through filelock) and releases it when
the process ends, however it ends. Beside it stands a line that says who has it, for the one who
waits. Where ML Metadata is a database on a server, which several machines may share, the server
holds a lock besides, for as long as the connection lives (`ordain.metadata.postgres`). A connection
can break while the run goes on, and then another run may take the database: `Hold.check`, before
each node.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from ordain.errors import InfrastructureError
from ordain.metadata.location import Location
from ordain.metadata.postgres import DatabaseLocks, database_locks

_NEXT = "wait for it (ordain run --wait), or use another workspace (--set workspace=...)"


class Hold:
    """The locks of a run while `workspace_lock` is entered."""

    def __init__(self, database: DatabaseLocks | None) -> None:
        """Takes the locks of the database; None if it has none of its own."""
        self._database = database

    def check(self) -> None:
        """Checks that the database is still locked; a lock of a file cannot be lost.

        Raises:
            InfrastructureError: The connection that held its lock broke.
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
) -> Iterator[Hold]:
    """Holds the workspace, and the database that its ML Metadata is in, for one run.

    Args:
        workspace: The workspace; made if need be.
        run_id: The run that wants it.
        wait: Whether to wait for another run to end; otherwise it is refused.
        on_wait: Called with the holder's description before waiting.
        metadata: Where ML Metadata is; a file needs no lock of its own.

    Yields:
        What is held, to be checked before each node.

    Raises:
        InfrastructureError: Another run holds it and `wait` is False, the workspace cannot be
            written, or the database cannot be reached.
    """
    try:
        workspace.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InfrastructureError(f"workspace {workspace} cannot be made: {error}") from error
    lock = filelock.FileLock(workspace / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        holder = _holder(workspace)
        if not wait:
            raise InfrastructureError(
                f"workspace {workspace} is in use by {holder}", _NEXT
            ) from error
        on_wait(holder)
        lock.acquire()
    except OSError as error:
        raise InfrastructureError(f"workspace {workspace} cannot be locked: {error}") from error
    try:
        about = {"run_id": run_id, "pid": os.getpid()}
        try:
            (workspace / ".lock.json").write_text(json.dumps(about), encoding="utf-8")
        except OSError as error:
            raise InfrastructureError(
                f"workspace {workspace} cannot be written: {error}"
            ) from error
        with contextlib.ExitStack() as stack:
            locks = None
            if metadata is not None:
                locks = stack.enter_context(_database_lock(metadata, run_id, wait, on_wait))
            yield Hold(locks)
    finally:
        lock.release()


@contextlib.contextmanager
def _database_lock(
    database: Location, run_id: str, wait: bool, on_wait: Callable[[str], None]
) -> Iterator[DatabaseLocks | None]:
    """Locks the database exclusively, if it has locks of its own."""
    with database_locks(database, run_id) as locks:
        if locks is not None and not locks.try_exclusive():
            holder = locks.holder()
            if not wait:
                raise InfrastructureError(f"database {database} is in use by {holder}", _NEXT)
            on_wait(holder)
            locks.wait_exclusive()
        yield locks


def _holder(workspace: Path) -> str:
    try:
        about = json.loads((workspace / ".lock.json").read_text(encoding="utf-8"))
        return f"run {about['run_id']} (process {about['pid']})"
    except (OSError, ValueError, KeyError):
        return "another run"
