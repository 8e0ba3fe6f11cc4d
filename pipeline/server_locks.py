"""Locks that a database server holds for a process, for as long as its connection lives.

Three kinds: the database for one local run alone, or in common for tasks in pods; one node of one
run; and the making of tables and types. Machines need not share anything else for them to hold.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any, Protocol

from contracts.errors import InfrastructureError
from pipeline.metadata_store import Location, PostgresDatabase, connect, without_secret

#: The first number spells `ordn`; the second says what is held.
_RUN = (0x6F72646E, 1)
_TABLES = (0x6F72646E, 2)


class ServerLocks(Protocol):
    """The locks of one connection; all of them end with it."""

    def try_alone(self) -> bool:
        """Takes the database for this process alone."""

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
    if not isinstance(location, PostgresDatabase):
        yield None
        return
    import psycopg  # noqa: PLC0415  only where the database is PostgreSQL

    with contextlib.closing(connect(location, name)) as connection:
        try:
            yield PostgresLocks(connection)
        except psycopg.Error as error:
            raise InfrastructureError(
                f"database {location} cannot be locked: {without_secret(error, location)}",
                "see whether the server is up, then run again",
            ) from None


class PostgresLocks:
    """Advisory locks."""

    def __init__(self, connection: Any) -> None:
        """Takes an open connection in autocommit."""
        self._connection = connection

    def try_alone(self) -> bool:
        """See `ServerLocks`."""
        return self._ask("SELECT pg_try_advisory_lock(%s, %s)", _RUN)

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
