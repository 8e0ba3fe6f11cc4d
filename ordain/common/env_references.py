"""`${env:NAME}` references, which are resolved at use, so that no file holds the value."""

from __future__ import annotations

import os
import re
from typing import Any

from ordain.errors import ConfigError

_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


def has_reference(value: object) -> bool:
    """Returns True for a string that contains a reference."""
    return isinstance(value, str) and _REFERENCE.search(value) is not None


def is_reference(value: object) -> bool:
    """Returns True for a string that is one reference and nothing else."""
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def referenced_names(text: str) -> list[str]:
    """The variables that a text has references to, sorted."""
    return sorted(set(_REFERENCE.findall(text)))


def resolve_references(value: Any, where: str) -> Any:
    """Copies nested dicts and lists with every reference in their strings resolved.

    Args:
        value: Any value; other types inside it are kept.
        where: Key of the value, for the error.

    Raises:
        ConfigError: A variable is not set; names it and the key.
    """
    if isinstance(value, dict):
        return {key: resolve_references(below, f"{where}.{key}") for key, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve_references(below, where) for below in value]
    if not isinstance(value, str):
        return value

    def substitute(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise ConfigError(f"{where}: environment variable {name} is not set", f"export {name}=")
        return os.environ[name]

    return _REFERENCE.sub(substitute, value)
