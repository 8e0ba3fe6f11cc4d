r"""ML Metadata's client: every call goes through here, whatever holds the data.

Paths. What is sent and what comes back goes through `ordain.metadata.portable_paths`.

For servers there are wrappers around two traps of ml-metadata 1.21 besides.

Order. It asks without `ORDER BY`. SQLite answers in the order of ids; a server answers as it likes,
PostgreSQL in that of the last updates. TFX takes the former for granted: to reuse outputs, it pairs
the events of an execution with its artifacts by position, and a cached Transform would hand its
graph out as examples. So what is not asked for in an order comes in the order of ids here.

Backslashes, PostgreSQL only. It has libpq quote a text and cuts off the first and the last
character, which it takes for the quotes. A text with a backslash is quoted as ` E'...'`, and the
statement that comes of it is none: `syntax error at or near "{"`. Every JSON within JSON, such as
TFX's `custom_config`, holds backslashes. So a backslash is written as another character there, and
read back as one.

`tests/integration/test_postgres.py` fails when upstream mends one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_metadata as mlmd

from ordain.metadata.location import Location, MetadataService, PostgresDatabase
from ordain.metadata.portable_paths import SCHEME, PortablePaths

#: Of Unicode's private use area, so that no text has it by itself.
_STANDS_FOR_BACKSLASH = "\ue05c"


class Store(mlmd.MetadataStore):
    """A store whose paths survive a move of the folders they lie in."""

    def __init__(self, config: Any, paths: PortablePaths) -> None:
        """Takes the connection's configuration, and the folders that may move."""
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
    """The same, and its answers come in the order of ids."""

    def _call(
        self, method_name: str, request: Any, response: Any, extra_options: Any = None
    ) -> Any:
        super()._call(method_name, request, response, extra_options)
        if not any(field.name == "options" for field, _ in request.ListFields()):
            _order(response)


class PostgresStore(ServerStore):
    """The same, and it may hold any text."""

    def _call_method(self, method_name: str, request: Any, response: Any) -> None:
        if b"\\" in request.SerializeToString():
            rewrite(request, lambda text: text.replace("\\", _STANDS_FOR_BACKSLASH))
        super()._call_method(method_name, request, response)
        if _STANDS_FOR_BACKSLASH.encode() in response.SerializeToString():
            rewrite(response, lambda text: text.replace(_STANDS_FOR_BACKSLASH, "\\"))


_STORES: dict[type, type[Store]] = {
    PostgresDatabase: PostgresStore,
    MetadataService: ServerStore,
}


def connected(location: Location, config: Any, paths: PortablePaths) -> Store:
    """The client for a place.

    Args:
        location: The place.
        config: Its configuration, from `ordain.metadata.store`.
        paths: The folders that may move.
    """
    return _STORES.get(type(location), Store)(config, paths)


def _order(response: Any) -> None:
    """Brings the nodes and events of an answer into the order of their ids, in place."""
    for field, value in response.ListFields():
        if field.name in ("artifacts", "executions", "contexts"):
            value.sort(key=lambda node: node.id)
        elif field.name == "events":
            value.sort(key=lambda event: (event.execution_id, event.artifact_id))


def rewrite(message: Any, change: Callable[[str], str]) -> None:
    """Changes every text of a protobuf message, in place."""
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
