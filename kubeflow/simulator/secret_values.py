"""Secrets and config maps of a simulation, and masking of secrets in output.

A compiled file names a secret and a key. The value comes from the caller's environment or from a
file, and goes only into the environment of the tasks that refer to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from ordain.errors import ConfigError
from ordain.kubeflow.simulator.inputs import InputError
from ordain.kubeflow.simulator.job import Job, Task, plain
from ordain.kubeflow.simulator.values import to_text

MASK = b"***"
#: Masking shorter values would hide ordinary words.
SHORTEST_MASKED = 4
#: Maximum bytes of an unfinished line that are held back.
_LONGEST_LINE = 64 * 1024


class Masker:
    """Replaces secret values in output: whole, line by line, or escaped as in a URL."""

    def __init__(self, secrets: Iterable[str]) -> None:
        texts: set[str] = set()
        for secret in secrets:
            for text in (secret, *secret.splitlines()):
                texts |= {text, quote(text, safe=""), *_escaped(text)}
        known = [text.encode() for text in texts if len(text) >= SHORTEST_MASKED]
        self._known = sorted(known, key=len, reverse=True)

    def mask(self, text: str) -> str:
        """Masks a text."""
        return self.mask_bytes(text.encode(errors="surrogateescape")).decode(errors="replace")

    def mask_value(self, value: Any) -> Any:
        """Masks all texts of a JSON value."""
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, list):
            return [self.mask_value(item) for item in value]
        if isinstance(value, dict):
            return {key: self.mask_value(item) for key, item in value.items()}
        return value

    def mask_bytes(self, data: bytes) -> bytes:
        """Masks bytes."""
        for known in self._known:
            data = data.replace(known, MASK)
        return data

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """Splits stream data into masked bytes to write and a rest to hold back.

        Args:
            data: Bytes read and not yet written.

        Returns:
            Masked bytes, and the rest, which may be the beginning of a secret.
        """
        end = data.rfind(b"\n") + 1
        if len(data) - end <= _LONGEST_LINE:
            return self.mask_bytes(data[:end]), data[end:]
        masked = self.mask_bytes(data)
        keep = max((len(known) for known in self._known), default=1) - 1
        return (masked[:-keep], masked[-keep:]) if keep else (masked, b"")


class SecretValues:
    """Values of secrets or config maps by name and key.

    Args:
        kind: `secret` or `config map`, for messages.
        option: The option that sets one, for messages.
        values: `NAME.KEY` -> value.
    """

    def __init__(self, kind: str, option: str, values: Mapping[str, str]) -> None:
        self._kind, self._option, self._values = kind, option, dict(values)

    def values(self) -> list[str]:
        """Every value."""
        return list(self._values.values())

    def environment(self, task: Task, run: Mapping[str, object]) -> dict[str, str]:
        """The variables of a task that have these values; optional ones without a value are absent.

        Args:
            task: The task.
            run: The run's parameters; a secret's name may be one.

        Raises:
            InputError: A required one has no value.
        """
        found = {}
        for variable, key, is_optional in self._mapped(task, run):
            if key in self._values:
                found[variable] = self._values[key]
            elif not is_optional:
                raise InputError(f"{self._kind} {key} (variable {variable}) is not set")
        return found

    def check(self, job: Job, run: Mapping[str, object]) -> None:
        """Checks that every required value is given and every given value is used.

        Raises:
            ConfigError: A value is missing or unused.
        """
        required: dict[str, list[str]] = {}
        for task in job.tasks:
            for _, key, is_optional in self._mapped(task, run):
                missing = required.setdefault(key, [])
                if not is_optional and key not in self._values:
                    missing.append(task.name)
        for key, tasks in required.items():
            if tasks:
                value = "VARIABLE" if self._kind == "secret" else "VALUE"
                raise ConfigError(
                    f"{self._kind} {key} is not set; required by task {', '.join(tasks)}",
                    f"{self._option} {key}={value}",
                )
        for key in self._values:
            if key not in required:
                used = ", ".join(sorted(required)) or "none"
                raise ConfigError(f"no task uses {self._kind} {key}; used: {used}")

    def _mapped(self, task: Task, run: Mapping[str, object]) -> Iterator[tuple[str, str, bool]]:
        """Yields a task's variables: name, `NAME.KEY`, and whether the value is optional."""
        kind = self._kind.replace(" ", "_")
        for owner in getattr(task.pod, f"{kind}_as_env"):
            source = getattr(owner, f"{kind}_name_parameter")
            name = getattr(owner, f"{kind}_name")
            if source.HasField("component_input_parameter"):
                name = to_text(run.get(source.component_input_parameter))
            elif source.HasField("runtime_value"):
                name = to_text(plain(source.runtime_value.constant))
            for pair in owner.key_to_env:
                yield pair.env_var, f"{name}.{getattr(pair, f'{kind}_key')}", owner.optional


def read_secrets(options: Iterable[str], file: Path | None) -> dict[str, str]:
    """Secrets of the command line.

    Args:
        options: `NAME.KEY=VARIABLE`, a variable of our own environment.
        file: YAML or JSON: name -> key -> value.

    Returns:
        `NAME.KEY` -> value.

    Raises:
        ConfigError: A variable is not set, or the file is not such a file.
    """
    values = {} if file is None else _read_file(file)
    for option in options:
        key, _, variable = option.partition("=")
        if not variable or "." not in key:
            raise ConfigError(
                f"--secret {key}: expected NAME.KEY=VARIABLE, a variable of this environment"
            )
        if variable not in os.environ:
            raise ConfigError(f"--secret {key}: {variable} is not set in the environment")
        values[key] = os.environ[variable]
    return values


def _escaped(text: str) -> set[str]:
    """Escaped forms of a text in Python, JSON and libpq connection strings."""
    libpq = text.replace("\\", "\\\\").replace("'", "\\'")
    return {repr(text)[1:-1], json.dumps(text)[1:-1], libpq}


def _read_file(file: Path) -> dict[str, str]:
    expected = f"{file}: expected name -> key -> value, such as `database: {{password: ...}}`"
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError):
        # What the parser says quotes the file.
        raise ConfigError(expected) from None
    if not isinstance(raw, dict) or not all(isinstance(v, dict) for v in raw.values()):
        raise ConfigError(expected)
    return {
        f"{name}.{key}": to_text(value) for name, keys in raw.items() for key, value in keys.items()
    }
