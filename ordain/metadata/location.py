"""Where ML Metadata is: a SQLite file, a PostgreSQL or MySQL database, or a gRPC server of its own.

`metadata` in `pipeline.yaml` is a path or one of

    postgresql://user@host:port/database
    mysql://user@host:port/database
    grpc://host:port

A password never stands in it: it is `${env:NAME}`, or it comes from the variable that the
database's own programs read, and it is looked up when a connection is made. Nothing here connects.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

from ordain.common.env_references import resolve_references
from ordain.errors import ConfigError

_REFERENCE = r"\$\{env:[A-Za-z_][A-Za-z0-9_]*\}"
_HOST = rf"(?P<host>\[[0-9a-fA-F:]+\]|(?:{_REFERENCE}|[^:@/?#])+)"
_DATABASE = re.compile(
    rf"(?P<scheme>postgres|postgresql|mysql)://(?P<user>(?:{_REFERENCE}|[^:@/?#])+)"
    rf"(?::(?P<password>(?:{_REFERENCE}|[^@])*))?"
    rf"@{_HOST}(?::(?P<port>\d+))?"
    rf"/(?P<database>(?:{_REFERENCE}|[^/?#])+)"
)
_SERVICE = re.compile(rf"grpc://{_HOST}(?::(?P<port>\d+))?")
_FORM = (
    "must be a path, postgresql://user@host:port/database, mysql://user@host:port/database or "
    "grpc://host:port"
)


@dataclass(frozen=True)
class Database:
    """A database on a server that holds ML Metadata.

    Attributes:
        user: Who connects.
        host: Name or address of the server.
        port: Its port.
        database: The database, which has to be there; the first run makes its tables.
        password: A reference `${env:NAME}`; None where the variable `PASSWORD`, if anything,
            has it.
    """

    SCHEME: ClassVar[str]
    #: What the database's own programs read a password from.
    PASSWORD: ClassVar[str]

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
        return f"{self.SCHEME}://{self.user}@{_bracketed(self.host)}:{self.port}/{self.database}"

    @property
    def secret(self) -> str:
        """The password, looked up now; empty if there is none.

        Raises:
            ConfigError: The variable that it refers to is not set.
        """
        if self.password is not None:
            return str(resolve_references(self.password, "metadata"))
        return os.environ.get(self.PASSWORD, "")


@dataclass(frozen=True)
class PostgresDatabase(Database):
    """A PostgreSQL database."""

    SCHEME: ClassVar[str] = "postgresql"
    PASSWORD: ClassVar[str] = "PGPASSWORD"  # noqa: S105  the variable's name


@dataclass(frozen=True)
class MysqlDatabase(Database):
    """A MySQL 8 or MariaDB database."""

    SCHEME: ClassVar[str] = "mysql"
    PASSWORD: ClassVar[str] = "MYSQL_PWD"  # noqa: S105  the variable's name


@dataclass(frozen=True)
class MetadataService:
    """ML Metadata's own gRPC server, which has its database to itself; without TLS or password."""

    host: str
    port: int

    def exists(self) -> bool:
        """A server cannot be looked at as a file can: True, and connecting says more."""
        return True

    def __str__(self) -> str:
        """The address."""
        return f"grpc://{_bracketed(self.host)}:{self.port}"


Server = PostgresDatabase | MysqlDatabase | MetadataService
Location = Path | PostgresDatabase | MysqlDatabase | MetadataService
DEFAULT_PORT = 5432
_PORTS = {"postgresql": DEFAULT_PORT, "mysql": 3306, "grpc": 8080}


def parse_location(value: object) -> object:
    """A `metadata` key as the place it names; for pydantic, which raises what this raises.

    Args:
        value: The key's text, or a place.
    """
    if not isinstance(value, str):
        return value
    if "://" not in value:
        return Path(value)
    service = _SERVICE.fullmatch(value)
    if service is not None:
        host = _resolved(service["host"]).strip("[]")
        return MetadataService(host, int(service["port"] or _PORTS["grpc"]))
    found = _DATABASE.fullmatch(value)
    if found is None:
        # What was given may hold a password: it is not repeated.
        raise ValueError(_FORM)
    kind = MysqlDatabase if found["scheme"] == "mysql" else PostgresDatabase
    password = found["password"]
    if password is not None and not re.fullmatch(_REFERENCE, password):
        raise ValueError(
            f"holds a password; leave it out and set {kind.PASSWORD}, or write "
            f"{kind.SCHEME}://user:${{env:NAME}}@host:port/database"
        )
    user, host, database = (_resolved(found[part]) for part in ("user", "host", "database"))
    port = int(found["port"] or _PORTS[kind.SCHEME])
    return kind(user, host.strip("[]"), port, database, password)


def without_secret(error: BaseException, location: Location | Database) -> str:
    """An error's text in one line, without the password."""
    text = " ".join(str(error).split())
    if isinstance(location, Database):
        try:
            secret = location.secret
        except ConfigError:
            return text
        text = text.replace(secret, "***") if secret else text
    return text


def _resolved(part: str) -> str:
    return unquote(str(resolve_references(part, "metadata")))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
