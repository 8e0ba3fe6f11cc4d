"""Where ML Metadata is: a SQLite file in the workspace, or a PostgreSQL database.

`metadata` in `pipeline.yaml` is a path or `postgresql://user@host:port/database`. A password
never stands in it: it is `${env:NAME}`, or it comes from the variable PGPASSWORD, and it is
looked up when a connection is made. Nothing here imports TensorFlow or TFX.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from contracts.errors import ConfigError, InfrastructureError
from contracts.references import resolve_references

DEFAULT_PORT = 5432
#: Seconds until a server that does not answer is given up.
CONNECT_TIMEOUT_S = 10
_SCHEMES = ("postgresql://", "postgres://")
_REFERENCE = r"\$\{env:[A-Za-z_][A-Za-z0-9_]*\}"
_ADDRESS = re.compile(
    rf"postgres(?:ql)?://(?P<user>(?:{_REFERENCE}|[^:@/?#])+)"
    rf"(?::(?P<password>(?:{_REFERENCE}|[^@])*))?"
    rf"@(?P<host>\[[0-9a-fA-F:]+\]|(?:{_REFERENCE}|[^:@/?#])+)(?::(?P<port>\d+))?"
    rf"/(?P<database>(?:{_REFERENCE}|[^/?#])+)"
)
_FORM = "postgresql://user@host:port/database"


@dataclass(frozen=True)
class PostgresDatabase:
    """A PostgreSQL database that holds ML Metadata.

    Attributes:
        user: Who connects.
        host: Name or address of the server.
        port: Its port.
        database: The database, which has to be there; the first run makes its tables.
        password: A reference `${env:NAME}`; None where PGPASSWORD, if anything, has it.
    """

    user: str
    host: str
    port: int
    database: str
    password: str | None = None

    def exists(self) -> bool:
        """A server cannot be looked at as a file can: True, and connecting says more."""
        return True

    def __str__(self) -> str:
        """The address, without the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql://{self.user}@{host}:{self.port}/{self.database}"

    @property
    def secret(self) -> str:
        """The password, looked up now; empty if there is none.

        Raises:
            ConfigError: The variable that it refers to is not set.
        """
        if self.password is not None:
            return str(resolve_references(self.password, "metadata"))
        return os.environ.get("PGPASSWORD", "")


Location = Path | PostgresDatabase


def parse_location(value: object) -> object:
    """A `metadata` key as the place it names; for pydantic, which raises what this raises.

    Args:
        value: The key's text, or a place.
    """
    if not isinstance(value, str):
        return value
    if "://" not in value:
        return Path(value)
    found = _ADDRESS.fullmatch(value)
    if not value.startswith(_SCHEMES) or found is None:
        # What was given may hold a password: it is not repeated.
        raise ValueError(f"must be a path, or {_FORM}")
    password = found["password"]
    if password is not None and not re.fullmatch(_REFERENCE, password):
        raise ValueError(
            "holds a password; leave it out and set PGPASSWORD, or write "
            "postgresql://user:${env:NAME}@host:port/database"
        )
    user, host, database = (
        unquote(resolve_references(found[part], "metadata")).strip("[]")
        for part in ("user", "host", "database")
    )
    return PostgresDatabase(user, host, int(found["port"] or DEFAULT_PORT), database, password)


def connection_config(location: Location, is_new: bool = False) -> Any:
    """The place as ml-metadata's `ConnectionConfig`; it holds the password: never write it out.

    Args:
        location: The place.
        is_new: Whether a SQLite file may be made.
    """
    from ml_metadata.proto import metadata_store_pb2 as pb  # noqa: PLC0415  half a second

    config = pb.ConnectionConfig()
    if isinstance(location, PostgresDatabase):
        server = config.postgresql
        server.host, server.port = location.host, str(location.port)
        server.user, server.dbname = _quoted(location.user), location.database
        if location.secret:
            server.password = _quoted(location.secret)
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


def open_store(location: Location, is_new: bool = False) -> Any:
    """Opens ML Metadata.

    Args:
        location: The place.
        is_new: Whether a SQLite file may be made.

    Raises:
        InfrastructureError: It cannot be opened; names the place, never the password.
    """
    import ml_metadata as mlmd  # noqa: PLC0415

    config = connection_config(location, is_new)
    try:
        if isinstance(location, PostgresDatabase):
            from pipeline.postgres_store import PostgresStore  # noqa: PLC0415

            return PostgresStore(config)
        return mlmd.MetadataStore(config)
    except Exception as error:
        raise InfrastructureError(
            f"{location}: ML Metadata cannot be opened: {without_secret(error, location)}",
            "ordain doctor PROJECT",
        ) from (None if isinstance(location, PostgresDatabase) else error)


def connect(location: PostgresDatabase, name: str) -> Any:
    """A connection of our own to the database: for the lock, and to see whether it answers.

    Args:
        location: The database.
        name: The connection's name, as `pg_stat_activity` shows it.

    Returns:
        A `psycopg.Connection` in autocommit.

    Raises:
        InfrastructureError: The server does not answer, or does not let us in.
    """
    import psycopg  # noqa: PLC0415  only where the database is PostgreSQL

    try:
        return psycopg.connect(
            host=location.host,
            port=location.port,
            user=location.user,
            password=location.secret or None,
            dbname=location.database,
            application_name=name[:63],
            connect_timeout=CONNECT_TIMEOUT_S,
            autocommit=True,
            # A machine that vanishes says nothing: both sides ask. The server frees the lock; here
            # the next question is an error.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=25_000,
            options="-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 "
            "-c tcp_keepalives_count=3",
        )
    except psycopg.OperationalError as error:
        raise InfrastructureError(
            f"{location}: the database cannot be reached: {without_secret(error, location)}",
            "start the server, correct `metadata` in pipeline.yaml, or set PGPASSWORD; "
            f"createdb {location.database} makes a database that is not there",
        ) from None


def without_secret(error: BaseException, location: Location) -> str:
    """An error's text in one line, without the password."""
    text = " ".join(str(error).split())
    if isinstance(location, PostgresDatabase):
        try:
            secret = location.secret
        except ConfigError:
            return text
        text = text.replace(secret, "***") if secret else text
    return text
