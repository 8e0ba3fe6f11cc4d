"""One run at a time in a workspace, and in a database; a crashed run leaves no stale lock.

The operating system holds the workspace's lock (`flock` through filelock) and releases it when
the process ends, however it ends. Beside it stands a line that says who has it, for the one who
waits. Where ML Metadata is a PostgreSQL database, which several machines may share, the server
holds an advisory lock besides, for as long as the connection lives. A connection can break while
the run goes on, and then another run may take the database: `Hold.check`, before each node.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock

from contracts.errors import InfrastructureError
from pipeline.metadata_store import Location, PostgresDatabase, connect, without_secret

#: Advisory locks are two numbers; these spell `ordn` and mean a run.
_ADVISORY = (0x6F72646E, 1)
#: Whether this very session holds it; behind a connection pooler it may be another one's.
_HELD_HERE = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s "
    "AND objid = %s AND granted AND pid = pg_backend_pid())"
)
_NEXT = "wait for it (ordain run --wait), or use another workspace (--set workspace=...)"


class Hold:
    """What a run holds while `workspace_lock` is entered."""

    def __init__(self) -> None:
        self._database: PostgresDatabase | None = None
        self._connection: Any = None

    def take(self, database: PostgresDatabase, connection: Any) -> None:
        """Says that this connection holds the database's lock."""
        self._database, self._connection = database, connection

    def check(self) -> None:
        """Checks that the database is still ours; a file's lock cannot be lost.

        Raises:
            InfrastructureError: The connection that held its lock broke.
        """
        if self._database is None:
            return
        import psycopg  # noqa: PLC0415  only where the database is PostgreSQL

        try:
            if _is_taken(self._connection, _HELD_HERE):
                return
            why = "another session holds it"
        except psycopg.Error as error:
            why = without_secret(error, self._database)
        raise InfrastructureError(
            f"the lock on database {self._database} is lost, and another run may begin: {why}",
            "run again once the server answers: what was finished is cached",
        ) from None


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
            hold = Hold()
            if isinstance(metadata, PostgresDatabase):
                held = _database_lock(metadata, run_id, wait, on_wait)
                hold.take(metadata, stack.enter_context(held))
            yield hold
    finally:
        lock.release()


@contextlib.contextmanager
def _database_lock(
    database: PostgresDatabase, run_id: str, wait: bool, on_wait: Callable[[str], None]
) -> Iterator[Any]:
    """Holds the database by an advisory lock, which ends with the connection that is yielded."""
    import psycopg  # noqa: PLC0415  only where the database is PostgreSQL

    name = f"ordain {run_id} {os.getpid()} {socket.gethostname()}"
    with contextlib.closing(connect(database, name)) as connection:
        try:
            if not _is_taken(connection, "SELECT pg_try_advisory_lock(%s, %s)"):
                holder = _database_holder(connection)
                if not wait:
                    raise InfrastructureError(f"database {database} is in use by {holder}", _NEXT)
                on_wait(holder)
                connection.execute("SELECT pg_advisory_lock(%s, %s)", _ADVISORY)
        except psycopg.Error as error:
            raise InfrastructureError(
                f"database {database} cannot be locked: {without_secret(error, database)}",
                "see whether the server is up, then run again",
            ) from None
        yield connection


def _is_taken(connection: Any, question: str) -> bool:
    return bool(connection.execute(question, _ADVISORY).fetchone()[0])


def _database_holder(connection: Any) -> str:
    """Who holds the database: the name that its connection has given itself."""
    row = connection.execute(
        "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid) "
        "WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND granted "
        "AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        _ADVISORY,
    ).fetchone()
    parts = row[0].split() if row else []
    if len(parts) != 4 or parts[0] != "ordain":
        return "another run"
    return f"run {parts[1]} (process {parts[2]} on {parts[3]})"


def _holder(workspace: Path) -> str:
    try:
        about = json.loads((workspace / ".lock.json").read_text(encoding="utf-8"))
        return f"run {about['run_id']} (process {about['pid']})"
    except (OSError, ValueError, KeyError):
        return "another run"
