"""Checks a server's version and mode."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ordain.errors import ConfigError
from ordain.kubeflow.client.errors import NotThereError, login_page
from ordain.kubeflow.client.settings import DOCS, Connection

#: Supported major version (API v2beta1).
MAJOR = 2
#: A health check's response has some 100 bytes.
MAX_BYTES = 65_536
_DOING = "asking for the server's version"


class Server(Protocol):
    """The part of `ordain.kubeflow.client.server.Server` that this module uses."""

    @property
    def connection(self) -> Connection:
        """Address and credentials."""

    def stream(self, doing: str, path: str) -> Iterator[bytes]:
        """Streams a response."""


@dataclass(frozen=True)
class About:
    """A server's version and mode.

    Attributes:
        version: Its release, such as `2.16.1`; empty if unknown.
        is_multi_user: Whether its objects belong to namespaces.
    """

    version: str
    is_multi_user: bool


def read_about(server: Server) -> About:
    """Reads a server's version and whether it is multi-user.

    The generated API has the health check, but not the version in its response.

    Raises:
        ConfigError: It is not a Kubeflow Pipelines server of major version 2.
        InfrastructureError: It is unreachable or failed.
    """
    said = _ask(server, "v2beta1")
    if said is None:
        older = _ask(server, "v1beta1")
        if older is None:
            raise _wrong(server, "nothing of Kubeflow Pipelines at that address")
        raise _wrong(server, _version(older) or "a version without the API v2beta1")
    version = _version(said)
    major = version.split(".", 1)[0].removeprefix("v")
    if major.isdecimal() and int(major) != MAJOR:
        raise _wrong(server, version)
    return About(version, said.get("multi_user") is True)


def _ask(server: Server, version: str) -> dict[str, Any] | None:
    """The response of an API version's health check; None if the path does not exist."""
    body = b""
    try:
        for piece in server.stream(_DOING, f"/apis/{version}/healthz"):
            body += piece
            if len(body) > MAX_BYTES:
                raise login_page(_DOING, server.connection)
    except NotThereError:
        return None
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise login_page(_DOING, server.connection)
    return said


def _version(said: Mapping[str, Any]) -> str:
    """The release in a health check's response; may be empty."""
    tag = said.get("tag_name")
    return tag[:40] if isinstance(tag, str) and tag != "unknown" else ""


def _wrong(server: Server, found: str) -> ConfigError:
    return ConfigError(
        f"{server.connection.host} is not a Kubeflow Pipelines server of version {MAJOR}: "
        f"found {found}",
        f"--host with the address of one (behind Kubeflow's gateway it ends in /pipeline); "
        f"see {DOCS}",
    )
