"""Checks a server's version and mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ordain.errors import ConfigError
from ordain.kubeflow.client.errors import NotThereError, login_page
from ordain.kubeflow.client.settings import DOCS, Connection

#: Supported major version (API v2beta1).
MAJOR = 2
#: The action, for errors.
DOING = "asking for the server's version"


@dataclass(frozen=True)
class About:
    """A server's version and mode.

    Attributes:
        version: Its release, such as `2.16.1`; empty if unknown.
        is_multi_user: Whether its objects belong to namespaces.
    """

    version: str
    is_multi_user: bool


def read_about(connection: Connection, get: Callable[[str], Any]) -> About:
    """Reads a server's version and whether it is multi-user.

    The generated API has the health check, but not the version in its response.

    Args:
        connection: Where the server is.
        get: Returns the JSON at a path, or the text if it is none.

    Raises:
        ConfigError: It is not a Kubeflow Pipelines server of major version 2.
        InfrastructureError: It is unreachable or failed.
    """
    health = _read_health(connection, get, "v2beta1")
    if health is None:
        older = _read_health(connection, get, "v1beta1")
        if older is None:
            raise _wrong(connection, "nothing of Kubeflow Pipelines at that address")
        raise _wrong(connection, _version(older) or "a version without the API v2beta1")
    version = _version(health)
    major = version.split(".", 1)[0].removeprefix("v")
    if major.isdecimal() and int(major) != MAJOR:
        raise _wrong(connection, version)
    return About(version, health.get("multi_user") is True)


def _read_health(
    connection: Connection, get: Callable[[str], Any], version: str
) -> dict[str, Any] | None:
    """The response of an API version's health check; None if the path does not exist."""
    try:
        health = get(f"/apis/{version}/healthz")
    except NotThereError:
        return None
    if not isinstance(health, dict):
        raise login_page(DOING, connection)
    return health


def _version(health: Mapping[str, Any]) -> str:
    """The release in a health check's response; may be empty."""
    tag = health.get("tag_name")
    return tag[:40] if isinstance(tag, str) and tag != "unknown" else ""


def _wrong(connection: Connection, found: str) -> ConfigError:
    return ConfigError(
        f"{connection.host} is not a Kubeflow Pipelines server of version {MAJOR}: found {found}",
        f"--host with the address of one (behind Kubeflow's gateway it ends in /pipeline); "
        f"see {DOCS}",
    )
