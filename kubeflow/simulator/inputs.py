"""What a task is given: inputs resolved as KFP's driver does, outputs read as its launcher does.

The rules are those of `backend/src/v2/driver/resolve.go` and `component/launcher_v2.go`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ordain.errors import ConfigError
from ordain.kubeflow.placeholders import RUN_PLACEHOLDERS, UnknownPlaceholderError, fill_inputs
from ordain.kubeflow.simulator.job import Job, Output, Parameter, RunParameter, Source, Task
from ordain.kubeflow.simulator.values import STRING, check_type, from_text, to_text

#: A parameter's file beyond this is no parameter: a cluster could not hold it either.
MAX_PARAMETER_BYTES = 1024 * 1024


class InputError(Exception):
    """A task cannot be given what it asks for; in a cluster its driver fails."""


class OutputError(Exception):
    """A task ended well and left no, or no valid, output; in a cluster its launcher fails."""


@dataclass(frozen=True)
class RunNames:
    """What the placeholders of a run stand for, in one task.

    Attributes:
        run_name: The run's display name.
        resource_name: The run's name in the cluster.
        run_id: Its id.
        task_name: The task's display name.
        task_id: The id of the task's parent, which is what KFP gives.
        created: When the run was made, RFC 3339.
        scheduled: When it was due.
    """

    run_name: str
    resource_name: str
    run_id: str
    task_name: str
    task_id: str
    created: str
    scheduled: str


@dataclass
class Outputs:
    """What a task left.

    Attributes:
        parameters: Output parameter -> value.
        artifacts: Output artifact -> `uri`, `type`, `name`, `metadata`, as KFP writes them.
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Inputs:
    """What a task is given.

    Attributes:
        parameters: Input parameter -> value, defaults included.
        artifacts: Input artifact -> its description.
        given: The inputs that somebody gave; a default is none of them.
    """

    parameters: dict[str, Any]
    artifacts: dict[str, dict[str, Any]]
    given: frozenset[str]


def run_parameters(job: Job, texts: Mapping[str, str]) -> dict[str, Any]:
    """The run's parameters: what a user gave, then the file's defaults.

    Args:
        job: The pipeline.
        texts: Parameter -> text.

    Returns:
        Every parameter of the pipeline; None for an optional one without a value.

    Raises:
        ConfigError: One is not the pipeline's, has no value, or one of another type.
    """
    allowed = ", ".join(sorted(job.parameters)) or "none"
    for name in texts:
        if name not in job.parameters:
            raise ConfigError(f"--param {name}: the file's parameters are: {allowed}")
    values: dict[str, Any] = {}
    for name, parameter in job.parameters.items():
        if name in texts:
            try:
                values[name] = from_text(texts[name], parameter.kind)
            except ValueError as error:
                raise ConfigError(f"--param {name}: {parameter.kind}: {error}") from error
        elif parameter.has_default:
            values[name] = parameter.default
        elif parameter.is_optional:
            values[name] = None
        else:
            raise ConfigError(f"parameter {name} has no default", f"--param {name}=VALUE")
    return values


def resolve_inputs(
    task: Task, run: Mapping[str, Any], done: Mapping[str, Outputs], names: RunNames
) -> Inputs:
    """Resolves a task's inputs.

    Args:
        task: The task.
        run: The run's parameters.
        done: What the tasks that ended well left.
        names: What the run's placeholders stand for.

    Raises:
        InputError: One is missing or of another type.
    """
    parameters: dict[str, Any] = {}
    for key, source in task.parameters.items():
        value = _resolved(source, run, done, names)
        declared = task.declared.get(key)
        if value is None:
            if declared is None or not (declared.is_optional or declared.has_default):
                raise InputError(f"input {key} has no value: {_described(source)} left none")
            continue
        parameters[key] = value
    texts = {key: to_text(value) for key, value in parameters.items()}
    try:
        parameters = fill_inputs(parameters, texts)
    except UnknownPlaceholderError as error:
        raise InputError(f"an input refers to {error}, which the task is not given") from error
    given = frozenset([*parameters, *task.artifacts])
    for key, declared in task.declared.items():
        if key not in parameters and declared.has_default:
            parameters[key] = declared.default
        elif key not in parameters and not declared.is_optional:
            raise InputError(f"input {key} has neither a value nor a default")
        if key in parameters:
            parameters[key] = _typed(key, parameters[key], declared)
    return Inputs(parameters, _artifacts(task, done), given)


def read_outputs(
    task: Task, files: Mapping[str, Path], written: Outputs, metadata: Path
) -> Outputs:
    """Reads what a task left.

    Args:
        task: The task.
        files: Output parameter -> file.
        written: The artifacts as they were described to the task.
        metadata: The file that the KFP SDK's executor writes; it comes first, and may be missing.

    Raises:
        OutputError: A parameter's file is missing, or holds another type.
    """
    told = _read_metadata(metadata)
    values = told.get("parameterValues")
    parameters: dict[str, Any] = dict(values) if isinstance(values, dict) else {}
    for key, kind in task.output_parameters.items():
        if key in parameters:
            continue
        try:
            if files[key].stat().st_size > MAX_PARAMETER_BYTES:
                raise OutputError(f"output {key} has more than {MAX_PARAMETER_BYTES:,} bytes")
            parameters[key] = from_text(files[key].read_text(encoding="utf-8"), kind)
        except FileNotFoundError as error:
            raise OutputError(
                f"output {key}: the task ended with 0 and did not write {files[key]}"
            ) from error
        except (OSError, ValueError) as error:
            raise OutputError(f"output {key} is no {kind}: {error}") from error
    artifacts = {key: dict(artifact) for key, artifact in written.artifacts.items()}
    lists = told.get("artifacts")
    for key, found in (lists if isinstance(lists, dict) else {}).items():
        entries = found.get("artifacts") if isinstance(found, dict) else None
        if key in artifacts and entries:
            _merge(artifacts[key], entries[0])
    return Outputs(parameters, artifacts)


def _resolved(
    source: Source, run: Mapping[str, Any], done: Mapping[str, Outputs], names: RunNames
) -> Any:
    if isinstance(source, RunParameter):
        if source.name not in run:
            raise InputError(f"the run has no parameter {source.name}")
        return run[source.name]
    if isinstance(source, Output):
        left = done.get(source.task)
        return None if left is None else left.parameters.get(source.key)
    if isinstance(source.value, str) and source.value in RUN_PLACEHOLDERS:
        return getattr(names, RUN_PLACEHOLDERS[source.value])
    return source.value


def _described(source: Source) -> str:
    if isinstance(source, Output):
        return f"task {source.task}"
    return f"parameter {source.name}" if isinstance(source, RunParameter) else "the file"


def _typed(key: str, value: Any, declared: Parameter) -> Any:
    """A value as its parameter's type; a text takes any, as in a cluster."""
    if declared.literals and value not in declared.literals:
        allowed = ", ".join(map(str, declared.literals))
        raise InputError(f"input {key} is {value!r}; allowed are {allowed}")
    if declared.kind == STRING:
        return to_text(value)
    try:
        check_type(value, declared.kind)
    except ValueError as error:
        raise InputError(f"input {key}: {error}") from error
    return value


def _artifacts(task: Task, done: Mapping[str, Outputs]) -> dict[str, dict[str, Any]]:
    found = {}
    for key, source in task.artifacts.items():
        left = done.get(source.task)
        if left is None or source.key not in left.artifacts:
            raise InputError(f"input artifact {key}: task {source.task} left no {source.key}")
        found[key] = left.artifacts[source.key]
    return found


def _read_metadata(file: Path) -> dict[str, Any]:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise OutputError(f"{file} is not JSON: {error}") from error
    if not isinstance(told, dict):
        raise OutputError(f"{file} is no ExecutorOutput")
    return told


def _merge(artifact: dict[str, Any], told: Any) -> None:
    if not isinstance(told, dict):
        return
    if told.get("uri"):
        artifact["uri"] = told["uri"]
    if isinstance(told.get("metadata"), dict):
        artifact["metadata"] = {**artifact.get("metadata", {}), **told["metadata"]}
