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
from ordain.kubeflow.placeholders import UnknownPlaceholderError, fill_inputs
from ordain.kubeflow.simulator.job import Job, Task, default_of, kind_of, plain
from ordain.kubeflow.simulator.values import STRING, check_type, from_text, to_text

#: Larger output parameters are refused; a cluster could not store them either.
MAX_PARAMETER_BYTES = 1024 * 1024


class InputError(Exception):
    """An input is missing or invalid; in a cluster the driver fails."""


class OutputError(Exception):
    """A task exited with 0 without a valid output; in a cluster the launcher fails."""


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
                values[name] = from_text(texts[name], kind_of(parameter))
            except ValueError as error:
                raise ConfigError(f"--param {name}: {kind_of(parameter)}: {error}") from error
        elif parameter.HasField("default_value") or parameter.is_optional:
            values[name] = default_of(parameter)
        else:
            raise ConfigError(f"parameter {name} has no default", f"--param {name}=VALUE")
    return values


def resolve_inputs(
    task: Task, run: Mapping[str, Any], done: Mapping[str, Outputs], names: Mapping[str, str]
) -> Inputs:
    """Resolves a task's inputs.

    Args:
        task: The task.
        run: The run's parameters.
        done: Outputs of the tasks that succeeded.
        names: Placeholder of the run -> value.

    Raises:
        InputError: One is missing or has the wrong type.
    """
    parameters: dict[str, Any] = {}
    for key, source in task.spec.inputs.parameters.items():
        value = _resolved(source, run, done, names)
        declared = task.declared.get(key)
        if value is not None:
            parameters[key] = value
        elif declared is None or not (declared.is_optional or declared.HasField("default_value")):
            raise InputError(f"input {key} has no value: {_described(source)} provides none")
    texts = {key: to_text(value) for key, value in parameters.items()}
    try:
        parameters = fill_inputs(parameters, texts)
    except UnknownPlaceholderError as error:
        raise InputError(
            f"an input refers to {error}, which is not an input of the task"
        ) from error
    given = frozenset([*parameters, *task.spec.inputs.artifacts])
    for key, declared in task.declared.items():
        if key not in parameters and declared.HasField("default_value"):
            parameters[key] = default_of(declared)
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
    for key, declared in task.component.output_definitions.parameters.items():
        if key in parameters:
            continue
        kind = kind_of(declared)
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
    source: Any, run: Mapping[str, Any], done: Mapping[str, Outputs], names: Mapping[str, str]
) -> Any:
    """The value of an `InputParameterSpec`; None if there is none."""
    kind = source.WhichOneof("kind")
    if kind == "component_input_parameter":
        if source.component_input_parameter not in run:
            raise InputError(f"the run has no parameter {source.component_input_parameter}")
        return run[source.component_input_parameter]
    if kind == "task_output_parameter":
        output = source.task_output_parameter
        outputs = done.get(output.producer_task, Outputs())
        return outputs.parameters.get(output.output_parameter_key)
    value = plain(source.runtime_value.constant)
    return names.get(value, value) if isinstance(value, str) else value


def _described(source: Any) -> str:
    """The origin of an `InputParameterSpec`, for a message."""
    kind = source.WhichOneof("kind")
    if kind == "task_output_parameter":
        return f"task {source.task_output_parameter.producer_task}"
    is_run = kind == "component_input_parameter"
    return f"parameter {source.component_input_parameter}" if is_run else "the file"


def _typed(key: str, value: Any, declared: Any) -> Any:
    """Checks a value's type; any value converts to a string, as in a cluster."""
    literals = [plain(literal) for literal in declared.literals]
    if literals and value not in literals:
        allowed = ", ".join(map(str, literals))
        raise InputError(f"input {key} is {value!r}; allowed are {allowed}")
    if kind_of(declared) == STRING:
        return to_text(value)
    try:
        check_type(value, kind_of(declared))
    except ValueError as error:
        raise InputError(f"input {key}: {error}") from error
    return value


def _artifacts(task: Task, done: Mapping[str, Outputs]) -> dict[str, dict[str, Any]]:
    found = {}
    for key, source in task.spec.inputs.artifacts.items():
        producer = source.task_output_artifact.producer_task
        output = source.task_output_artifact.output_artifact_key
        left = done.get(producer, Outputs()).artifacts
        if output not in left:
            raise InputError(f"input artifact {key}: task {producer} has no output {output}")
        found[key] = left[output]
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
