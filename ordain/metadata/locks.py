"""Locks that a database server holds for a process, for as long as its connection lives.

Three kinds: the database for one local run alone, or in common for tasks in pods; one node of one
run; and the making of tables and types. Machines need not share anything else for them to hold.

`postgres_locks.py` has those of PostgreSQL, `mysql_locks.py` those of MySQL.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ordain.errors import InfrastructureError
from ordain.metadata.connection import connect
from ordain.metadata.location import Database, Location, MysqlDatabase, without_secret
from ordain.metadata.lock_types import ServerLocks
from ordain.metadata.postgres_locks import PostgresLocks

_NEXT = "see whether the server is up, then run again"


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
        from ordain.metadata.mysql_locks import MysqlLocks  # noqa: PLC0415  only where it is MySQL

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
