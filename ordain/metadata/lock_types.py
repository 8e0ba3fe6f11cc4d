"""The protocol of locks that a database server holds, and the words for their holder."""

from __future__ import annotations

import contextlib
from typing import Protocol


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


def describe_holder(name: str) -> str:
    """A connection's name in words."""
    parts = name.split()
    if len(parts) != 4 or parts[0] != "ordain":
        return "another run"
    return f"run {parts[1]} (process {parts[2]} on {parts[3]})"
