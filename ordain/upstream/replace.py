"""Temporary replacement of attributes of modules and classes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

#: A module or class and the name in it -> the value in its place.
Replacements = Mapping[tuple[Any, str], Any]


@contextlib.contextmanager
def replaced(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """Replaces an attribute until the block ends.

    Args:
        owner: A module whose callers look the function up by its name, or a class.
        name: The attribute's name.
        replacement: Its value meanwhile.
    """
    original = getattr(owner, name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)


class Scope:
    """Replacements that are in place while at least one block is open, in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._stack = contextlib.ExitStack()

    @contextlib.contextmanager
    def entered(self, replacements: Replacements) -> Iterator[None]:
        """Makes the replacements for the first open block, and restores them after the last.

        Args:
            replacements: The same for every block.
        """
        with self._lock:
            if self._open == 0:
                for (owner, name), replacement in replacements.items():
                    self._stack.enter_context(replaced(owner, name, replacement))
            self._open += 1
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1
                if self._open == 0:
                    self._stack.close()
