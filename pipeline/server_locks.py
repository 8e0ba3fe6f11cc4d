"""Locks that a database server holds for a process, for as long as its connection lives.

Three kinds: the database for one local run alone, or in common for tasks in pods; one node of one
run; and the making of tables and types. Machines need not share anything else for them to hold.

PostgreSQL has advisory locks, alone or shared; `mysql_locks.py` has MySQL's.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from contracts.errors import InfrastructureError
from pipeline.metadata_location import Database, Location, MysqlDatabase, without_secret
from pipeline.metadata_store import connect

#: The first number spells `ordn`; the second says what is held.
_RUN = (0x6F72646E, 1)
_TABLES = (0x6F72646E, 2)
_NEXT = "see whether the server is up, then run again"


class ServerLocks(Protocol):
    """The locks of one connection; all of them end with it.

    Attributes:
        errors: What its methods raise when the connection broke.
    """

    errors: tuple[type[Exception], ...]

    def try_alone(self) -> bool:
        """Takes the database for this process alone."""

    def holds_alone(self) -> bool:
        """Whether this very connection still has it so; raises one of `errors` if it broke."""

    def wait_alone(self) -> None:
        """The same, and waits for it."""

    def try_common(self) -> bool:
        """Takes the database in common with others that do so."""

    def wait_common(self) -> None:
        """The same, and waits for it."""

    def try_node(self, name: str) -> bool:
        """Takes what `name` stands for, for this process alone."""

    def free_node(self, name: str) -> None:
        """Gives it back."""

    def free_all(self) -> None:
        """Gives everything back that this connection holds."""

    def tables(self) -> contextlib.AbstractContextManager[None]:
        """Holds the making of tables and types; waits for it."""

    def holder(self) -> str:
        """Who holds the database, in words."""


@contextlib.contextmanager
def server_locks(location: Location, name: str) -> Iterator[ServerLocks | None]:
    """Connects to a server for its locks.

    Args:
        location: Where ML Metadata is.
        name: The connection's name, `ordain <run> <process> <host>`.

    Yields:
        The locks; None for a place that has none, which is a file.

    Raises:
        InfrastructureError: The server does not answer, or an answer was an error.
    """
    if not isinstance(location, Database):
        yield None
        return
    kind: Callable[[Any, str], ServerLocks] = PostgresLocks
    if isinstance(location, MysqlDatabase):
        from pipeline.mysql_locks import MysqlLocks  # noqa: PLC0415  it imports this module

        kind = MysqlLocks
    with contextlib.closing(connect(location, name)) as connection:
        locks = kind(connection, location.database)
        try:
            try:
                yield locks
            finally:
                # The server would free them when it notices that the connection was closed, which
                # may be after whoever comes next has asked.
                with contextlib.suppress(*locks.errors):
                    locks.free_all()
        except locks.errors as error:
            raise InfrastructureError(
                f"database {location} cannot be locked: {without_secret(error, location)}", _NEXT
            ) from None


@contextlib.contextmanager
def making_tables(location: Location, name: str) -> Iterator[None]:
    """Holds the making of a database's tables, with a connection of its own.

    Args:
        location: The database.
        name: The connection's name.
    """
    with server_locks(location, name) as locks:
        if locks is None:
            yield
            return
        with locks.tables():
            yield


class PostgresLocks:
    """Advisory locks."""

    def __init__(self, connection: Any, database: str) -> None:
        """Takes an open connection in autocommit; its locks are the database's own."""
        import psycopg  # noqa: PLC0415  only where the database is PostgreSQL

        del database
        self._connection = connection
        self.errors: tuple[type[Exception], ...] = (psycopg.Error,)

    def try_alone(self) -> bool:
        """See `ServerLocks`."""
        return self._ask("SELECT pg_try_advisory_lock(%s, %s)", _RUN)

    def holds_alone(self) -> bool:
        """See `ServerLocks`; behind a connection pooler another session may have it."""
        return self._ask(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s "
            "AND objid = %s AND granted AND pid = pg_backend_pid())",
            _RUN,
        )

    def wait_alone(self) -> None:
        """See `ServerLocks`."""
        self._ask("SELECT pg_advisory_lock(%s, %s)", _RUN)

    def try_common(self) -> bool:
        """See `ServerLocks`."""
        return self._ask("SELECT pg_try_advisory_lock_shared(%s, %s)", _RUN)

    def wait_common(self) -> None:
        """See `ServerLocks`."""
        self._ask("SELECT pg_advisory_lock_shared(%s, %s)", _RUN)

    def try_node(self, name: str) -> bool:
        """See `ServerLocks`."""
        return self._ask("SELECT pg_try_advisory_lock(%s)", (_number(name),))

    def free_node(self, name: str) -> None:
        """See `ServerLocks`."""
        self._ask("SELECT pg_advisory_unlock(%s)", (_number(name),))

    def free_all(self) -> None:
        """See `ServerLocks`."""
        self._ask("SELECT pg_advisory_unlock_all()", ())

    @contextlib.contextmanager
    def tables(self) -> Iterator[None]:
        """See `ServerLocks`."""
        self._ask("SELECT pg_advisory_lock(%s, %s)", _TABLES)
        try:
            yield
        finally:
            self._ask("SELECT pg_advisory_unlock(%s, %s)", _TABLES)

    def holder(self) -> str:
        """See `ServerLocks`."""
        row = self._connection.execute(
            "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid) "
            "WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND granted AND "
            "pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            _RUN,
        ).fetchone()
        return describe_holder(row[0] if row else "")

    def _ask(self, question: str, values: tuple[int, ...]) -> bool:
        return bool(self._connection.execute(question, values).fetchone()[0])


def describe_holder(name: str) -> str:
    """A connection's name in words."""
    parts = name.split()
    if len(parts) != 4 or parts[0] != "ordain":
        return "another run"
    return f"run {parts[1]} (process {parts[2]} on {parts[3]})"


def _number(name: str) -> int:
    """A name as PostgreSQL's 64 bits with a sign; two names that meet only wait for each other."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
