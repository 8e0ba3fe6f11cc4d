"""The place of ML Metadata, as `metadata` in `pipeline.yaml` names it; nothing here connects.

It is a path (SQLite) or one of

    postgresql://user@host:port/database
    grpc://host:port

A password never stands in it: it is `${env:NAME}`, or comes from PGPASSWORD, and is looked up
when a connection is made.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from ordain.common.env_references import resolve_references
from ordain.errors import ConfigError

POSTGRES_PORT = 5432
_SERVICE_PORT = 8080
_REFERENCE = r"\$\{env:[A-Za-z_][A-Za-z0-9_]*\}"
_HOST = rf"(?P<host>\[[0-9a-fA-F:]+\]|(?:{_REFERENCE}|[^:@/?#])+)"
_DATABASE = re.compile(
    rf"(?:postgres|postgresql)://(?P<user>(?:{_REFERENCE}|[^:@/?#])+)"
    rf"(?::(?P<password>(?:{_REFERENCE}|[^@])*))?"
    rf"@{_HOST}(?::(?P<port>\d+))?"
    rf"/(?P<database>(?:{_REFERENCE}|[^/?#])+)"
)
_SERVICE = re.compile(rf"grpc://{_HOST}(?::(?P<port>\d+))?")
_ALLOWED = (
    "must be a path (SQLite, the default), postgresql://user@host:port/database or grpc://host:port"
)
_MYSQL = re.compile(r"(?i)(mysql|mariadb)[a-z+]*://")


@dataclass(frozen=True)
class PostgresDatabase:
    """A PostgreSQL database that holds ML Metadata.

    Attributes:
        user: User name of the connection.
        host: Name or address of the server.
        port: Its port.
        database: The database, which has to exist; the first run makes its tables.
        password: A reference `${env:NAME}`; None to use PGPASSWORD, if it is set.
    """

    user: str
    host: str
    port: int
    database: str
    password: str | None = None

    def exists(self) -> bool:
        """Returns True: unlike a file, a server is known only by connecting to it."""
        return True

    def __str__(self) -> str:
        """The address, without the password."""
        return f"postgresql://{self.user}@{_bracketed(self.host)}:{self.port}/{self.database}"

    @property
    def secret(self) -> str:
        """The password, looked up now; empty if there is none.

        Raises:
            ConfigError: The variable that it refers to is not set.
        """
        if self.password is not None:
            return str(resolve_references(self.password, "metadata"))
        return os.environ.get("PGPASSWORD", "")


@dataclass(frozen=True)
class MetadataService:
    """ML Metadata's gRPC server, in front of a database of its own; without TLS or password."""

    host: str
    port: int

    def exists(self) -> bool:
        """Returns True: unlike a file, a server is known only by connecting to it."""
        return True

    def __str__(self) -> str:
        """The address."""
        return f"grpc://{_bracketed(self.host)}:{self.port}"


Server = PostgresDatabase | MetadataService
Location = Path | Server


def parse_location(value: object) -> object:
    """Parses the configuration key `metadata`.

    Args:
        value: The key's text; anything else is returned as it is, for pydantic to judge.

    Raises:
        ValueError: The text is none of the allowed; a password in it is not repeated.
    """
    if not isinstance(value, str):
        return value
    if "://" not in value:
        return Path(value)
    if _MYSQL.match(value):
        raise ValueError(
            f"MySQL is not supported, as ml-metadata cannot sign in to MySQL 9; {_ALLOWED}"
        )
    service = _SERVICE.fullmatch(value)
    if service is not None:
        return MetadataService(_host(service["host"]), int(service["port"] or _SERVICE_PORT))
    found = _DATABASE.fullmatch(value)
    if found is None:
        raise ValueError(_ALLOWED)
    password = found["password"]
    if password is not None and not re.fullmatch(_REFERENCE, password):
        raise ValueError(
            "holds a password; leave it out and set PGPASSWORD, or write "
            "postgresql://user:${env:NAME}@host:port/database"
        )
    return PostgresDatabase(
        _resolved(found["user"]),
        _host(found["host"]),
        int(found["port"] or POSTGRES_PORT),
        _resolved(found["database"]),
        password,
    )


def without_secret(error: BaseException, location: Location) -> str:
    """Formats an error's text on one line, without the password of the location."""
    text = " ".join(str(error).split())
    if isinstance(location, PostgresDatabase):
        try:
            secret = location.secret
        except ConfigError:
            return text
        text = text.replace(secret, "***") if secret else text
    return text


def _host(part: str) -> str:
    return _resolved(part).strip("[]")


def _resolved(part: str) -> str:
    return unquote(str(resolve_references(part, "metadata")))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
