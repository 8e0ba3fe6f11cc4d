"""Opens ML Metadata, wherever it is.

Nothing here imports TensorFlow or TFX.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

from ordain.errors import InfrastructureError
from ordain.metadata.connection import connect
from ordain.metadata.location import (
    Location,
    MetadataService,
    MysqlDatabase,
    PostgresDatabase,
    Server,
    without_secret,
)
from ordain.metadata.locks import making_tables
from ordain.metadata.portable_paths import AS_THEY_ARE, PortablePaths

#: Seconds for one answer of a gRPC server; the longest is the whole history's.
_ANSWER_TIMEOUT_S = 120.0
#: gRPC's own limit of 4 MB is less than the artifacts of a few hundred runs.
_MAX_ANSWER_BYTES = 512_000_000


def connection_config(location: Location, is_new: bool = False) -> Any:
    """The place as ml-metadata takes it; it holds the password: never write it out.

    Args:
        location: The place.
        is_new: Whether a SQLite file may be made.

    Returns:
        A `ConnectionConfig`, or for gRPC a `MetadataStoreClientConfig`.
    """
    from ml_metadata.proto import metadata_store_pb2 as pb  # noqa: PLC0415  half a second

    config = pb.ConnectionConfig()
    if isinstance(location, MetadataService):
        client = pb.MetadataStoreClientConfig(host=location.host, port=location.port)
        client.client_timeout_sec = _ANSWER_TIMEOUT_S
        client.channel_arguments.max_receive_message_length = _MAX_ANSWER_BYTES
        return client
    if isinstance(location, PostgresDatabase):
        postgres = config.postgresql
        postgres.host, postgres.port = location.host, str(location.port)
        postgres.user, postgres.dbname = _quoted(location.user), location.database
        if location.secret:
            postgres.password = _quoted(location.secret)
        return config
    if isinstance(location, MysqlDatabase):
        mysql = config.mysql
        mysql.host, mysql.port = location.host, location.port
        mysql.user, mysql.database = location.user, location.database
        mysql.password = location.secret
        mysql.skip_db_creation = True
        return config
    source = pb.SqliteMetadataSourceConfig
    config.sqlite.filename_uri = str(location)
    config.sqlite.connection_mode = source.READWRITE_OPENCREATE if is_new else source.READWRITE
    if is_new:
        location.parent.mkdir(parents=True, exist_ok=True)
    return config


def _quoted(value: str) -> str:
    """A value as libpq reads it: ml-metadata 1.21 puts it into a connection string as it is.

    A blank in a password would end it there, and the server's client would log the rest.
    """
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def open_store(location: Location, paths: PortablePaths, is_new: bool = False) -> Any:
    """Opens ML Metadata; in a database that is new, it makes the tables.

    Args:
        location: The place.
        paths: The folders that may move, `Project.paths`.
        is_new: Whether a SQLite file may be made.

    Raises:
        InfrastructureError: It cannot be opened; names the place, never the password.
    """
    from ordain.metadata.server_client import connected  # noqa: PLC0415  half a second

    config = connection_config(location, is_new)
    try:
        if isinstance(location, Path):
            return connected(location, config, paths)
        with _making_tables(location):
            store = connected(location, config, paths)
            store.get_context_types()  # a gRPC server is not asked before
            return store
    except InfrastructureError:
        raise
    except Exception as error:
        raise InfrastructureError(
            f"{location}: ML Metadata cannot be opened: {without_secret(error, location)}",
            "ordain doctor PROJECT",
        ) from (error if isinstance(location, Path) else None)


def _making_tables(location: Server) -> contextlib.AbstractContextManager[Any]:
    """One process at a time opens a database: the first makes the tables, in many steps."""
    if isinstance(location, MetadataService):
        return contextlib.nullcontext()
    return making_tables(location, f"ordain open {os.getpid()} {socket.gethostname()}")


def check_server(location: Server, name: str) -> str:
    """Asks a server whether it is there and lets us in.

    Args:
        location: The server.
        name: The connection's name.

    Returns:
        What it says it is.

    Raises:
        InfrastructureError: It does not answer, or does not let us in.
    """
    if isinstance(location, MetadataService):
        open_store(location, AS_THEY_ARE)
        return "answers"
    with contextlib.closing(connect(location, name)) as connection:
        if isinstance(location, PostgresDatabase):
            return f"answers, version {connection.info.server_version // 10000}"
        return f"answers, version {connection.get_server_info()}"
