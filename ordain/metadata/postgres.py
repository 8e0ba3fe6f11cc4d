"""Connections to PostgreSQL beside ml-metadata's own, and the advisory locks that they hold.

A lock lives as long as its connection, so a process that is killed leaves none. There are three:

- the database, exclusive for a local run or shared by tasks in pods;
- one node of one run, exclusive;
- the creation of tables and types, exclusive.

Machines that take them need to share nothing but the database.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from ordain.errors import InfrastructureError
from ordain.metadata.location import Location, PostgresDatabase, without_secret

#: Seconds until a server that does not answer is given up.
CONNECT_TIMEOUT_S = 10
#: The first number spells `ordn`; the second names the lock.
_DATABASE = (0x6F72646E, 1)
_TABLES = (0x6F72646E, 2)
#: Suffix of PostgreSQL's functions for an exclusive and a shared lock.
_SHARED = ("", "_shared")


def connect(database: PostgresDatabase, name: str) -> Any:
    """Connects to a database.

    Args:
        database: The database.
        name: Name of the connection (`application_name`).

    Returns:
        A `psycopg.Connection` in autocommit.

    Raises:
        InfrastructureError: The server does not answer, or refuses the connection.
    """
    import psycopg  # noqa: PLC0415  only where the database is PostgreSQL

    try:
        return psycopg.connect(
            host=database.host,
            port=database.port,
            user=database.user,
            password=database.secret or None,
            dbname=database.database,
            application_name=name[:63],
            connect_timeout=CONNECT_TIMEOUT_S,
            autocommit=True,
            # A machine that vanishes closes nothing. With keepalives on both sides the server
            # frees its locks, and the next query of this side fails, within 25 seconds.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=25_000,
            options="-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 "
            "-c tcp_keepalives_count=3",
        )
    except psycopg.OperationalError as error:
        raise InfrastructureError(
            f"{database}: the database cannot be reached: {without_secret(error, database)}",
            "start the server, correct `metadata` in pipeline.yaml, or set PGPASSWORD; "
            f"createdb {database.database} makes a database that is not there",
        ) from None


def server_version(database: PostgresDatabase, name: str) -> int:
    """Connects once, and returns the server's major version.

    Raises:
        InfrastructureError: The server does not answer, or refuses the connection.
    """
    with contextlib.closing(connect(database, name)) as connection:
        return int(connection.info.server_version) // 10000


class DatabaseLocks:
    """The advisory locks of one connection; they are the database's own and end with it."""

    def __init__(self, database: PostgresDatabase, connection: Any) -> None:
        """Takes an open connection in autocommit."""
        self.database = database
        self._connection = connection

    def try_lock(self, is_shared: bool = False) -> bool:
        """Locks the database, unless another process has.

        Args:
            is_shared: Whether other processes may share the lock.
        """
        return self._query(f"SELECT pg_try_advisory_lock{_SHARED[is_shared]}(%s, %s)", _DATABASE)

    def wait_lock(self, is_shared: bool = False) -> None:
        """Locks the database as `try_lock` does; waits until it can."""
        self._query(f"SELECT pg_advisory_lock{_SHARED[is_shared]}(%s, %s)", _DATABASE)

    def check(self) -> None:
        """Checks that this connection still locks the database.

        Raises:
            InfrastructureError: The connection broke, or, behind a connection pooler, another
                session has the lock.
        """
        import psycopg  # noqa: PLC0415

        try:
            if self._query(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s "
                "AND objid = %s AND granted AND pid = pg_backend_pid())",
                _DATABASE,
            ):
                return
            why = "another session holds it"
        except psycopg.Error as error:
            why = without_secret(error, self.database)
        raise InfrastructureError(
            f"the lock on database {self.database} is lost, and another run may begin: {why}",
            "run again once the server answers: what was finished is cached",
        ) from None

    @contextlib.contextmanager
    def try_node(self, name: str) -> Iterator[bool]:
        """Locks a node of a run while entered, if nobody else has.

        Args:
            name: The pipeline, the run and the node, joined by `/`.

        Yields:
            True if it is locked for this process.
        """
        number = (_number(name),)
        is_locked = self._query("SELECT pg_try_advisory_lock(%s)", number)
        try:
            yield is_locked
        finally:
            if is_locked:
                self._query("SELECT pg_advisory_unlock(%s)", number)

    @contextlib.contextmanager
    def tables(self) -> Iterator[None]:
        """Locks the creation of tables and types while entered; waits until it can."""
        self._query("SELECT pg_advisory_lock(%s, %s)", _TABLES)
        try:
            yield
        finally:
            self._query("SELECT pg_advisory_unlock(%s, %s)", _TABLES)

    def release(self) -> None:
        """Releases every lock of the connection."""
        self._query("SELECT pg_advisory_unlock_all()", ())

    def holder(self) -> str:
        """Describes who locks the database, such as `run r1 (process 14 on worker-2)`."""
        row = self._connection.execute(
            "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid) "
            "WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND granted AND "
            "pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            _DATABASE,
        ).fetchone()
        parts = row[0].split() if row else []
        if len(parts) != 4 or parts[0] != "ordain":
            return "another run"
        return f"run {parts[1]} (process {parts[2]} on {parts[3]})"

    def _query(self, query: str, values: tuple[int, ...]) -> bool:
        return bool(self._connection.execute(query, values).fetchone()[0])


@contextlib.contextmanager
def database_locks(location: Location, run_id: str) -> Iterator[DatabaseLocks | None]:
    """Opens a connection for locks, and closes it at the end.

    Args:
        location: Where ML Metadata is.
        run_id: The run, or the one word by which other processes are to name this one.

    Yields:
        The locks; None unless ML Metadata is in PostgreSQL.

    Raises:
        InfrastructureError: The server does not answer, or a query failed.
    """
    if not isinstance(location, PostgresDatabase):
        yield None
        return
    import psycopg  # noqa: PLC0415  only where the database is PostgreSQL

    name = f"ordain {run_id} {os.getpid()} {socket.gethostname()}"
    with contextlib.closing(connect(location, name)) as connection:
        locks = DatabaseLocks(location, connection)
        try:
            try:
                yield locks
            finally:
                # The server notices a closed connection a little later, and refuses the next run
                # until then.
                with contextlib.suppress(psycopg.Error):
                    locks.release()
        except psycopg.Error as error:
            raise InfrastructureError(
                f"database {location} cannot be locked: {without_secret(error, location)}",
                "see whether the server is up, then run again",
            ) from None


def _number(name: str) -> int:
    """Hashes a name to PostgreSQL's signed 64 bits; two that collide only wait for each other."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
