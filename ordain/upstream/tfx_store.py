"""TFX 1.21: its use of the ML Metadata store by the launcher.

- `Handle`: TFX opens the store several times for each node. On PostgreSQL each opening is a
  connection and a query of every table. `tests/unit/upstream/test_traps.py` fails when TFX
  keeps the store open.
- `registering_once`: the launcher hands out the execution that an earlier attempt of a node
  registered, but its handler of resolvers registers one for each attempt.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from tfx.orchestration import metadata
from tfx.orchestration.portable import execution_publish_utils
from tfx.orchestration.portable.mlmd import execution_lib

from ordain.upstream.replace import replaced


class Handle(metadata.Metadata):
    """A handle whose store is opened once and stays open."""

    def __init__(self, config: Any, open_store: Callable[[], Any]) -> None:
        """Takes the connection's configuration, and a function that opens the store."""
        super().__init__(config)
        self._open_store = open_store
        self._store: Any = None

    def __enter__(self) -> metadata.Metadata:
        """Opens the store the first time."""
        if self._store is None:
            self._store = self._open_store()
        self._users += 1
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the store open for the next use."""
        self._users -= 1


@contextlib.contextmanager
def registering_once() -> Iterator[None]:
    """Makes nodes take the execution that an earlier attempt registered."""
    original = execution_publish_utils.register_execution

    def register(
        metadata_handle: Any, execution_type: Any, contexts: Any, *args: Any, **rest: Any
    ) -> Any:
        before = execution_lib.get_executions_associated_with_all_contexts(
            metadata_handle, contexts
        )
        if before:
            return before[-1]
        return original(metadata_handle, execution_type, contexts, *args, **rest)

    with replaced(execution_publish_utils, "register_execution", register):
        yield
