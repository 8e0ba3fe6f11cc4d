"""Opens ML Metadata in a SQLite file, a PostgreSQL database or behind its gRPC server.

Neither TensorFlow nor TFX is imported here.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from ordain.common.portable_paths import AS_THEY_ARE, PortablePaths
from ordain.errors import InfrastructureError
from ordain.metadata.location import (
    Location,
    MetadataService,
    PostgresDatabase,
    Server,
    without_secret,
)
from ordain.metadata.postgres import database_locks, server_version

#: Seconds for one answer of a gRPC server; the largest answer is the whole history.
_ANSWER_TIMEOUT_S = 120.0
#: gRPC's own limit of 4 MB is less than the artifacts of a few hundred runs.
_MAX_ANSWER_BYTES = 512_000_000


def connection_config(location: Location, is_new: bool = False) -> Any:
    """Builds ml-metadata's configuration of a location; it holds the password: never log it.

    Args:
        location: The location.
        is_new: True to create a SQLite file that does not exist.

    Returns:
        A `ConnectionConfig`, or for gRPC a `MetadataStoreClientConfig`.
    """
    from ml_metadata.proto import metadata_store_pb2 as pb  # noqa: PLC0415  half a second

    if isinstance(location, MetadataService):
        client = pb.MetadataStoreClientConfig(host=location.host, port=location.port)
        client.client_timeout_sec = _ANSWER_TIMEOUT_S
        client.channel_arguments.max_receive_message_length = _MAX_ANSWER_BYTES
        return client
    config = pb.ConnectionConfig()
    if isinstance(location, PostgresDatabase):
        postgres = config.postgresql
        postgres.host, postgres.port = location.host, str(location.port)
        postgres.user, postgres.dbname = _quoted(location.user), location.database
        if location.secret:
            postgres.password = _quoted(location.secret)
        return config
    source = pb.SqliteMetadataSourceConfig
    config.sqlite.filename_uri = str(location)
    config.sqlite.connection_mode = source.READWRITE_OPENCREATE if is_new else source.READWRITE
    if is_new:
        location.parent.mkdir(parents=True, exist_ok=True)
    return config


def _quoted(value: str) -> str:
    """Quotes a value for libpq: ml-metadata 1.21 puts it into a connection string as it is.

    A blank in a password would end it there, and libpq would log the rest.
    """
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def open_store(
    location: Location, paths: PortablePaths, is_new: bool = False, is_read_only: bool = False
) -> Any:
    """Opens ML Metadata, and creates the tables in an empty database.

    Args:
        location: The location.
        paths: The folders that may move, `Project.paths`.
        is_new: True to create a SQLite file that does not exist.
        is_read_only: True to open a SQLite file for reading only.

    Returns:
        An `ml_metadata.MetadataStore`.

    Raises:
        InfrastructureError: It cannot be opened; names the location, never the password.
    """
    config = connection_config(location, is_new)
    if is_read_only and isinstance(location, Path):
        config.sqlite.connection_mode = type(config.sqlite).READONLY
    try:
        with contextlib.ExitStack() as stack:
            locks = stack.enter_context(database_locks(location, "open"))
            if locks is not None:
                # One process at a time: the tables are created in many statements.
                stack.enter_context(locks.tables())
            store = connected(location, config, paths)
        if isinstance(location, MetadataService):
            store.get_context_types()  # the client connects at its first call
        return store
    except InfrastructureError:
        raise
    except Exception as error:
        raise InfrastructureError(
            f"{location}: ML Metadata cannot be opened: {without_secret(error, location)}",
            "ordain doctor PROJECT",
        ) from (error if isinstance(location, Path) else None)


def connected(location: Location, config: Any, paths: PortablePaths) -> Any:
    """Connects to ML Metadata.

    Args:
        location: The location.
        config: Its configuration, from `connection_config`.
        paths: The folders that may move.

    Returns:
        An `ml_metadata.MetadataStore`.
    """
    from ordain.upstream import ml_metadata  # noqa: PLC0415  half a second

    if isinstance(location, PostgresDatabase):
        return ml_metadata.PostgresStore(config, paths)
    if isinstance(location, MetadataService):
        return ml_metadata.ServerStore(config, paths)
    return ml_metadata.Store(config, paths)


def tfx_handle(location: Location, paths: PortablePaths) -> Any:
    """TFX's handle of the store, which opens it at its first use and keeps it open.

    Args:
        location: The location; a SQLite file is created.
        paths: The folders that may move.

    Returns:
        A `tfx.orchestration.metadata.Metadata`.
    """
    from ordain.upstream.tfx_store import Handle  # noqa: PLC0415  TFX

    config = connection_config(location, is_new=True)
    return Handle(config, lambda: open_store(location, paths, is_new=True))


def check_server(server: Server, name: str) -> str:
    """Checks that a server answers and accepts the connection.

    Args:
        server: The server.
        name: Name of the connection.

    Returns:
        What was found, such as `answers, version 15`.

    Raises:
        InfrastructureError: It does not answer, or refuses the connection.
    """
    if isinstance(server, MetadataService):
        open_store(server, AS_THEY_ARE)
        return "answers"
    return f"answers, version {server_version(server, name)}"
