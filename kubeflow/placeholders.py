"""Fills placeholders of a compiled pipeline as the launcher of Kubeflow Pipelines does.

Commands and arguments refer to values as `{{$.inputs.parameters['span']}}`; an argument may also
be a JSON object, `{"Concat": [...]}` or `{"IfPresent": {...}}`. Placeholders of the run
(`{{$.pipeline_job_uuid}}`) are filled by the driver, and only where they are the whole constant of
a task's input (`backend/src/v2/driver/resolve.go`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

TASK_NAME = "{{$.pipeline_task_name}}"
#: Placeholders that the driver fills.
RUN_PLACEHOLDERS = (
    "{{$.pipeline_job_name}}",
    "{{$.pipeline_job_resource_name}}",
    "{{$.pipeline_job_uuid}}",
    TASK_NAME,
    "{{$.pipeline_task_uuid}}",
    "{{$.pipeline_job_create_time_utc}}",
    "{{$.pipeline_job_schedule_time_utc}}",
)
#: The task's whole ExecutorInput, as JSON.
EXECUTOR_INPUT = "{{$}}"
_PLACEHOLDER = re.compile(r"\{\{\$(?:\.[^{}]*)?\}\}")
_INPUT_PARAMETER = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")
_KUBERNETES_VARIABLE = re.compile(r"\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)")


class UnknownPlaceholderError(Exception):
    """A placeholder without a value."""

    def __init__(self, placeholder: str) -> None:
        super().__init__(placeholder)
        self.placeholder = placeholder


def input_parameter(name: str) -> str:
    """The placeholder of an input parameter."""
    return f"{{{{$.inputs.parameters['{name}']}}}}"


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replaces every placeholder in one pass; placeholders inside values stay.

    Args:
        text: A word of a command.
        values: Placeholder -> value.

    Raises:
        UnknownPlaceholderError: One of them has no value.
    """
    return _replace(_PLACEHOLDER, text, values)


def fill_words(
    words: Iterable[str], values: Mapping[str, str], present: Collection[str]
) -> list[str]:
    """Replaces the placeholders of a command.

    `kfp.local` resolves the structures. It does not fill the values: its `replace_placeholders`
    fills placeholders inside values again, writes `null` for unknown ones and formats numbers,
    lists and dicts differently from the launcher.

    Args:
        words: The command with its arguments, as in the file.
        values: Placeholder -> value.
        present: Names of the inputs that were given to the task, for `IfPresent`.

    Returns:
        The words to run; an `IfPresent` yields zero or more of them.

    Raises:
        UnknownPlaceholderError: A placeholder has no value, or a structure is malformed.
    """
    from kfp.local import placeholder_utils  # noqa: PLC0415  seconds to import

    filled: list[str] = []
    for word in words:
        try:
            parts = placeholder_utils.resolve_struct_placeholders(word, list(present))
        except (KeyError, TypeError, ValueError) as error:
            raise UnknownPlaceholderError(word) from error
        filled += [fill(part, values) for part in placeholder_utils.flatten_list([parts])]
    return filled


def fill_inputs(parameters: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Fills input parameters that refer to others of the same task.

    The SDK writes `f"a-{upstream.output}"` as a constant with a placeholder, and the upstream
    output as an additional input of the task.

    Args:
        parameters: Name -> value, as resolved for the task.
        texts: Name -> the same value as text.

    Raises:
        UnknownPlaceholderError: One refers to an input that the task does not have.
    """
    values = {input_parameter(name): text for name, text in texts.items()}
    return {
        name: _replace(_INPUT_PARAMETER, value, values) if isinstance(value, str) else value
        for name, value in parameters.items()
    }


def expand_variables(text: str, environment: Mapping[str, str]) -> str:
    """Expands `$(NAME)` as Kubernetes does in commands and in variables; `$$` is one dollar.

    Unknown names stay, so that `$(date)` reaches the shell.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        return environment.get(match[1], match[0])

    return _KUBERNETES_VARIABLE.sub(value, text)


def _replace(pattern: re.Pattern[str], text: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[0] not in values:
            raise UnknownPlaceholderError(match[0])
        return values[match[0]]

    return pattern.sub(value, text)
