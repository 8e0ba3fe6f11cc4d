r"""ml-metadata 1.21: clients that translate paths and work around two of its bugs.

Paths in requests and responses are translated by `ordain.common.portable_paths`.

Order, on servers. ml-metadata queries without `ORDER BY`. SQLite returns rows in the order of ids,
PostgreSQL in that of the last updates. TFX relies on the former: to reuse outputs it pairs the
events of an execution with its artifacts by position, and a cached Transform would return its graph
as examples. So responses to requests without an order are sorted by id.

Backslashes, on PostgreSQL. ml-metadata has libpq quote a string, and cuts off the first and last
character as the quotes. libpq quotes a string with a backslash as ` E'...'`, so the statement is
invalid: `syntax error at or near "{"`. JSON within JSON, such as TFX's `custom_config`, contains
backslashes. So a backslash is written as another character, and read back as one.

`tests/integration/test_postgres.py` fails once upstream fixes one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_metadata as mlmd

from ordain.common.portable_paths import SCHEME, PortablePaths

#: From Unicode's private use area, so that no string contains it otherwise.
_BACKSLASH = "\ue05c"


class Store(mlmd.MetadataStore):
    """A store with portable paths."""

    def __init__(self, config: Any, paths: PortablePaths) -> None:
        """Takes the configuration of the connection, and the folders that may move."""
        super().__init__(config)
        self._paths = paths

    def _call(
        self, method_name: str, request: Any, response: Any, extra_options: Any = None
    ) -> Any:
        rewrite(request, self._paths.portable)
        super()._call(method_name, request, response, extra_options)
        if SCHEME.encode() in response.SerializeToString():
            rewrite(response, self._paths.absolute)


class ServerStore(Store):
    """A store whose responses are sorted by id."""

    def _call(
        self, method_name: str, request: Any, response: Any, extra_options: Any = None
    ) -> Any:
        super()._call(method_name, request, response, extra_options)
        if not any(field.name == "options" for field, _ in request.ListFields()):
            _order(response)


class PostgresStore(ServerStore):
    """A store whose strings may contain backslashes."""

    def _call_method(self, method_name: str, request: Any, response: Any) -> None:
        if b"\\" in request.SerializeToString():
            rewrite(request, lambda text: text.replace("\\", _BACKSLASH))
        super()._call_method(method_name, request, response)
        if _BACKSLASH.encode() in response.SerializeToString():
            rewrite(response, lambda text: text.replace(_BACKSLASH, "\\"))


def _order(response: Any) -> None:
    """Sorts the artifacts, executions, contexts and events of a response by id, in place."""
    for field, value in response.ListFields():
        if field.name in ("artifacts", "executions", "contexts"):
            value.sort(key=lambda node: node.id)
        elif field.name == "events":
            value.sort(key=lambda event: (event.execution_id, event.artifact_id))


def rewrite(message: Any, change: Callable[[str], str]) -> None:
    """Applies a function to every string of a protobuf message, in place."""
    for field, value in message.ListFields():
        is_repeated = field.label == field.LABEL_REPEATED
        if field.type == field.TYPE_STRING:
            if is_repeated:
                value[:] = map(change, value)
            else:
                setattr(message, field.name, change(value))
        elif field.type == field.TYPE_MESSAGE:
            if field.message_type.GetOptions().map_entry:
                if field.message_type.fields_by_name["value"].message_type is not None:
                    for below in value.values():
                        rewrite(below, change)
            elif is_repeated:
                for below in value:
                    rewrite(below, change)
            else:
                rewrite(value, change)
