"""Placeholders of a compiled pipeline, filled as Kubeflow Pipelines' launcher fills them.

A container's command and arguments refer to values by `{{$.inputs.parameters['span']}}` and the
like; an argument may also be a whole JSON object, `{"Concat": [...]}` or `{"IfPresent": {...}}`.
What concerns the run (`{{$.pipeline_job_uuid}}`) is filled by the driver instead, and only where it
is the whole constant of a task's input: `backend/src/v2/driver/resolve.go` compares it as a whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

#: What the driver knows; the values are names of fields of `RunNames`.
RUN_PLACEHOLDERS = {
    "{{$.pipeline_job_name}}": "run_name",
    "{{$.pipeline_job_resource_name}}": "resource_name",
    "{{$.pipeline_job_uuid}}": "run_id",
    "{{$.pipeline_task_name}}": "task_name",
    "{{$.pipeline_task_uuid}}": "task_id",
    "{{$.pipeline_job_create_time_utc}}": "created",
    "{{$.pipeline_job_schedule_time_utc}}": "scheduled",
}
#: The whole of what a task is given, as JSON.
EXECUTOR_INPUT = "{{$}}"
_PLACEHOLDER = re.compile(r"\{\{\$(?:\.[^{}]*)?\}\}")
_INPUT_PARAMETER = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")
_KUBERNETES_VARIABLE = re.compile(r"\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)")


class UnknownPlaceholderError(Exception):
    """A placeholder that nothing fills."""

    def __init__(self, placeholder: str) -> None:
        super().__init__(placeholder)
        self.placeholder = placeholder


def input_parameter(name: str) -> str:
    """The placeholder of an input parameter."""
    return f"{{{{$.inputs.parameters['{name}']}}}}"


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replaces every placeholder in one pass: what a value holds is not looked through again.

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

    Args:
        words: The command with its arguments, as in the file.
        values: Placeholder -> value.
        present: Names of the inputs that the task was given, for `IfPresent`.

    Returns:
        The words to run; an `IfPresent` may become none, or several.

    Raises:
        UnknownPlaceholderError: A placeholder has no value.
    """
    filled: list[str] = []
    for word in words:
        for part in _parts(_parse(word), present):
            filled.append(fill(part, values))
    return filled


def find_placeholders(words: Iterable[str]) -> list[str]:
    """Every placeholder in a command, whichever branch of an `IfPresent` it stands in."""
    return [found for word in words for found in _PLACEHOLDER.findall(word)]


def named_parameters(text: str) -> list[str]:
    """Names of the input parameters that a text refers to."""
    return _INPUT_PARAMETER.findall(text)


def fill_inputs(parameters: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Fills input parameters that refer to others of the same task.

    The SDK writes `f"a-{upstream.output}"` as a constant with a placeholder, and the upstream's
    output as a further input of the task.

    Args:
        parameters: Name -> value, as resolved for the task.
        texts: Name -> the same value as text.

    Raises:
        UnknownPlaceholderError: One refers to what the task was not given.
    """
    values = {input_parameter(name): text for name, text in texts.items()}
    return {
        name: _replace(_INPUT_PARAMETER, value, values) if isinstance(value, str) else value
        for name, value in parameters.items()
    }


def expand_variables(text: str, environment: Mapping[str, str]) -> str:
    """Expands `$(NAME)` as Kubernetes does in commands and in variables; `$$` is one dollar.

    A name that the container does not have stays as it is, so that `$(date)` reaches the shell.
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


def _parse(word: str) -> Any:
    """A word, or the object of an `IfPresent` or a `Concat`."""
    if not word.lstrip().startswith(('{"IfPresent"', '{"Concat"')):
        return word
    try:
        return json.loads(word)
    except ValueError:
        return word


def _parts(node: Any, present: Collection[str]) -> list[str]:
    """The words that a node comes to; a `Concat` is one."""
    if node is None:
        return []
    if isinstance(node, list):
        return [part for child in node for part in _parts(child, present)]
    if isinstance(node, dict) and "Concat" in node:
        return ["".join(_parts(node["Concat"], present))]
    if isinstance(node, dict) and "IfPresent" in node:
        branch = node["IfPresent"]
        key = "Then" if branch["InputName"] in present else "Else"
        return _parts(branch.get(key), present)
    return [str(node)]
