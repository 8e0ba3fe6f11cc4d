"""Connections of our own to the database server of ML Metadata."""

from __future__ import annotations

from typing import Any

from ordain.errors import InfrastructureError
from ordain.metadata.location import Database, MysqlDatabase, without_secret

#: Seconds until a server that does not answer is given up.
CONNECT_TIMEOUT_S = 10
#: The longest that MySQL lets a connection rest: a training may take days.
_MYSQL_REST_S = 31_536_000


def connect(location: Database, name: str) -> Any:
    """A connection of our own to a database: for the locks, and to see whether it answers.

    Args:
        location: The database.
        name: The connection's name, as the server shows it.

    Returns:
        A `psycopg.Connection` or a `pymysql.Connection`, in autocommit.

    Raises:
        InfrastructureError: The server does not answer, or does not let us in.
    """
    is_mysql = isinstance(location, MysqlDatabase)
    try:
        return _connect_mysql(location, name) if is_mysql else _connect_postgres(location, name)
    except _errors(location) as error:
        made = "CREATE DATABASE" if is_mysql else "createdb"
        raise InfrastructureError(
            f"{location}: the database cannot be reached: {without_secret(error, location)}",
            f"start the server, correct `metadata` in pipeline.yaml, or set {location.PASSWORD}; "
            f"{made} {location.database} makes a database that is not there",
        ) from None


def _errors(location: Database) -> tuple[type[Exception], ...]:
    if isinstance(location, MysqlDatabase):
        import pymysql  # noqa: PLC0415  only where the database is MySQL

        return (pymysql.MySQLError, RuntimeError)  # RuntimeError: an authentication it lacks
    import psycopg  # noqa: PLC0415  only where the database is PostgreSQL

    return (psycopg.OperationalError,)


def _connect_postgres(location: Database, name: str) -> Any:
    import psycopg  # noqa: PLC0415

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
        options="-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
    )


def _connect_mysql(location: Database, name: str) -> Any:
    import pymysql  # noqa: PLC0415

    return pymysql.connect(
        host=location.host,
        port=location.port,
        user=location.user,
        password=location.secret,
        database=location.database,
        program_name=name,
        connect_timeout=CONNECT_TIMEOUT_S,
        autocommit=True,
        init_command=f"SET SESSION wait_timeout = {_MYSQL_REST_S}",
    )
