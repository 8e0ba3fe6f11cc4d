"""Resolves a task's inputs as KFP's driver does and reads its outputs as KFP's launcher does.

The rules are those of `backend/src/v2/driver/resolve.go` and `component/launcher_v2.go`.
`kfp.local.orchestrator` neither fills placeholders of the run nor checks types, and its
`get_outputs_for_task` accepts a missing parameter file and drops artifacts that only have files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ordain.errors import ConfigError
from ordain.kubeflow.placeholders import RUN_PLACEHOLDERS, UnknownPlaceholderError, fill_inputs
from ordain.kubeflow.simulator.job import Job, Output, Parameter, RunParameter, Source, Task
from ordain.kubeflow.simulator.values import STRING, check_type, from_text, to_text

#: Larger output parameters are refused; a cluster could not store them either.
MAX_PARAMETER_BYTES = 1024 * 1024


class InputError(Exception):
    """An input is missing or invalid; in a cluster the driver fails."""


class OutputError(Exception):
    """A task exited with 0 without a valid output; in a cluster the launcher fails."""


@dataclass(frozen=True)
class RunNames:
    """Values of the run's placeholders in one task.

    Attributes:
        run_name: The run's display name.
        resource_name: The run's name in the cluster.
        run_id: Its id.
        task_name: The task's display name.
        task_id: The id of the task's parent, as in KFP.
        created: Creation time, RFC 3339.
        scheduled: Scheduled time.
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
    """A task's outputs.

    Attributes:
        parameters: Output parameter -> value.
        artifacts: Output artifact -> `uri`, `type`, `name`, `metadata`, as in KFP.
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Inputs:
    """A task's resolved inputs.

    Attributes:
        parameters: Input parameter -> value, defaults included.
        artifacts: Input artifact -> its description.
        given: The inputs that were given explicitly, defaults excluded.
    """

    parameters: dict[str, Any]
    artifacts: dict[str, dict[str, Any]]
    given: frozenset[str]


def run_parameters(job: Job, texts: Mapping[str, str]) -> dict[str, Any]:
    """Determines the run parameters: given values first, then the file's defaults.

    Args:
        job: The pipeline.
        texts: Parameter -> text.

    Returns:
        Every parameter of the pipeline; None for an optional one without a value.

    Raises:
        ConfigError: One is unknown, has no value, or has the wrong type.
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
        done: Outputs of the tasks that succeeded.
        names: Values of the run's placeholders.

    Raises:
        InputError: One is missing or has the wrong type.
    """
    parameters: dict[str, Any] = {}
    for key, source in task.parameters.items():
        value = _resolved(source, run, done, names)
        declared = task.declared.get(key)
        if value is None:
            if declared is None or not (declared.is_optional or declared.has_default):
                raise InputError(f"input {key} has no value: {_described(source)} provides none")
            continue
        parameters[key] = value
    texts = {key: to_text(value) for key, value in parameters.items()}
    try:
        parameters = fill_inputs(parameters, texts)
    except UnknownPlaceholderError as error:
        raise InputError(
            f"an input refers to {error}, which is not an input of the task"
        ) from error
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
    """Reads a task's outputs.

    Args:
        task: The task.
        files: Output parameter -> file.
        written: The artifacts as described to the task.
        metadata: The file that the KFP SDK's executor writes; takes precedence, may be missing.

    Raises:
        OutputError: A parameter's file is missing or has the wrong type.
    """
    executor_output = _read_executor_output(metadata)
    parameters: dict[str, Any] = dict(executor_output.get("parameterValues", {}))
    for key, kind in task.output_parameters.items():
        if key in parameters:
            continue
        try:
            if files[key].stat().st_size > MAX_PARAMETER_BYTES:
                raise OutputError(f"output {key} has more than {MAX_PARAMETER_BYTES:,} bytes")
            parameters[key] = from_text(files[key].read_text(encoding="utf-8"), kind)
        except FileNotFoundError as error:
            raise OutputError(
                f"output {key}: the task exited with 0 without writing {files[key]}"
            ) from error
        except (OSError, ValueError) as error:
            raise OutputError(f"output {key} is not a {kind}: {error}") from error
    artifacts = {key: dict(artifact) for key, artifact in written.artifacts.items()}
    for key, found in executor_output.get("artifacts", {}).items():
        if key in artifacts and found.get("artifacts"):
            _merge(artifacts[key], found["artifacts"][0])
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
    """Checks a value's type; any value converts to a string, as in a cluster."""
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
            raise InputError(f"input artifact {key}: task {source.task} has no output {source.key}")
        found[key] = left.artifacts[source.key]
    return found


def _read_executor_output(file: Path) -> dict[str, Any]:
    """The `ExecutorOutput` of the SDK's executor; empty if the task wrote none."""
    from google.protobuf import json_format  # noqa: PLC0415  as below
    from kfp.local.executor_output_utils import load_executor_output  # noqa: PLC0415  seconds

    try:
        return dict(json_format.MessageToDict(load_executor_output(str(file))))
    except (OSError, ValueError, json_format.ParseError) as error:
        raise OutputError(f"{file} is not an ExecutorOutput: {error}") from error


def _merge(artifact: dict[str, Any], written: Mapping[str, Any]) -> None:
    artifact["uri"] = written.get("uri") or artifact["uri"]
    artifact["metadata"] = {**artifact.get("metadata", {}), **written.get("metadata", {})}
