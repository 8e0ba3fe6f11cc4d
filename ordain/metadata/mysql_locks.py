"""The locks of a MySQL or MariaDB server, as `lock_types.ServerLocks` has them.

They are named locks (`GET_LOCK`), which cannot be shared: whoever wants the database in common
takes one of a number of names, and who wants it alone takes them all.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

import pymysql

from ordain.metadata.lock_types import describe_holder

#: Tasks that may hold a database in common; one more waits.
_SEATS = 64
#: Seconds of one try for a named lock; MariaDB knows no endless one.
_TRY_S = 60


class MysqlLocks:
    """Named locks; a server has one set of names, so the database is part of each."""

    def __init__(self, connection: Any, database: str) -> None:
        """Takes an open connection in autocommit."""
        self._connection = connection
        self._database = database
        self.errors: tuple[type[Exception], ...] = (pymysql.MySQLError,)

    def try_alone(self) -> bool:
        """See `ServerLocks`."""
        taken: list[str] = []
        for seat in self._seats():
            if not self._take(seat, 0):
                for name in taken:
                    self._free(name)
                return False
            taken.append(seat)
        return True

    def holds_alone(self) -> bool:
        """See `ServerLocks`."""
        seat = self._seats()[0]
        return self._ask("SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", (seat,))

    def wait_alone(self) -> None:
        """See `ServerLocks`; the seats come in one order, so that two that wait do not cross."""
        for seat in self._seats():
            self._wait(seat)

    def try_common(self) -> bool:
        """See `ServerLocks`."""
        return any(self._take(seat, 0) for seat in self._seats())

    def wait_common(self) -> None:
        """See `ServerLocks`."""
        self._wait(self._seats()[0])

    def try_node(self, name: str) -> bool:
        """See `ServerLocks`."""
        return self._take(self._name(name), 0)

    def free_node(self, name: str) -> None:
        """See `ServerLocks`."""
        self._free(self._name(name))

    def free_all(self) -> None:
        """See `ServerLocks`."""
        self._ask("SELECT RELEASE_ALL_LOCKS()", ())

    @contextlib.contextmanager
    def tables(self) -> Iterator[None]:
        """See `ServerLocks`."""
        name = self._name("tables")
        self._wait(name)
        try:
            yield
        finally:
            self._free(name)

    def holder(self) -> str:
        """See `ServerLocks`; the server tells it where its performance schema is on."""
        question = (
            "SELECT ATTR_VALUE FROM performance_schema.session_connect_attrs "
            "WHERE ATTR_NAME = 'program_name' AND PROCESSLIST_ID = IS_USED_LOCK(%s)"
        )
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(question, (self._seats()[0],))
                row = cursor.fetchone()
        except pymysql.MySQLError:
            return describe_holder("")
        return describe_holder(str(row[0]) if row else "")

    def _seats(self) -> list[str]:
        return [self._name(f"run {number}") for number in range(_SEATS)]

    def _name(self, what: str) -> str:
        """At most 64 characters, and MySQL compares them without case."""
        digest = hashlib.sha256(f"{self._database}/{what}".encode()).hexdigest()
        return f"ordain-{digest[:40]}"

    def _wait(self, name: str) -> None:
        while not self._take(name, _TRY_S):
            pass

    def _take(self, name: str, timeout_s: int) -> bool:
        return self._ask("SELECT GET_LOCK(%s, %s)", (name, timeout_s))

    def _free(self, name: str) -> None:
        self._ask("SELECT RELEASE_LOCK(%s)", (name,))

    def _ask(self, question: str, values: tuple[Any, ...]) -> bool:
        with self._connection.cursor() as cursor:
            cursor.execute(question, values)
            return bool(cursor.fetchone()[0])
