"""The locks of a PostgreSQL server: advisory locks, alone or shared."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

from ordain.metadata.lock_types import describe_holder

#: The first number spells `ordn`; the second says what is held.
_RUN = (0x6F72646E, 1)
_TABLES = (0x6F72646E, 2)


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


def _number(name: str) -> int:
    """A name as PostgreSQL's 64 bits with a sign; two names that meet only wait for each other."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
