"""Checks of the arguments of the Python API, which no option of a command checks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ordain.config.project import Project
from ordain.errors import ConfigError


def check_project(project: Project) -> None:
    """Refuses a project that is none, such as the path of its folder.

    Raises:
        ConfigError: It is no `Project`.
    """
    if not isinstance(project, Project):
        raise ConfigError(
            f"project: got {_shown(project)}, expected a Project",
            "project = ordain.load_project(FOLDER)",
        )


def setting_texts(settings: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """Settings as `a.b=value` texts, whose values are JSON, which is YAML.

    Raises:
        ConfigError: They are neither a mapping nor a list of texts, or a value is not data.
    """
    if isinstance(settings, str) or not isinstance(settings, Mapping | Sequence):
        raise ConfigError(
            f"settings: got {_shown(settings)}, expected a mapping or a list of texts",
            'such as settings={"train.steps": 5} or settings=["train.steps=5"]',
        )
    if not isinstance(settings, Mapping):
        return list(settings)
    texts = []
    for key, value in settings.items():
        try:
            texts.append(f"{key}={json.dumps(value, default=os.fspath)}")
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"settings: {key} is {_shown(value)}: {error}",
                "give a number, a text, a path, a list or a mapping",
            ) from error
    return texts


def check_limit(limit: int | None) -> None:
    """Refuses a limit that is not a number from 0.

    Raises:
        ConfigError: It is neither a whole number from 0 nor None.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise ConfigError(f"limit: got {_shown(limit)}, expected a whole number from 0, or None")


def check_rows(rows: Any) -> None:
    """Refuses rows that are neither a DataFrame nor a list of mappings.

    Raises:
        ConfigError: They are something else.
    """
    is_list = isinstance(rows, Sequence) and all(isinstance(row, Mapping) for row in rows)
    if not is_list and not hasattr(rows, "iloc"):
        raise ConfigError(
            f"rows: got {_shown(rows)}, expected a pandas DataFrame or a list of mappings",
            'one row is a list, too: [{"x": 1.5}]',
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 80 else text[:77] + '...'}"
