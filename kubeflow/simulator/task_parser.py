"""Reads one task of a compiled file: its container, inputs, outputs, retries, environment."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from ordain.kubeflow.exit_tasks import is_exit_task
from ordain.kubeflow.placeholders import EXECUTOR_INPUT, RUN_PLACEHOLDERS, find_placeholders
from ordain.kubeflow.simulator.job import (
    Constant,
    Mapped,
    Output,
    Parameter,
    Retry,
    RunParameter,
    Source,
    Task,
)

#: Fields of a pod that a variable may stand for here.
POD_FIELDS = ("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName")


class Refusals:
    """What a file asks for that is not simulated, task by task."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._tasks: set[str] = set()

    def add(self, task: str, why: str) -> None:
        """Notes one of them."""
        self.found.append(f"task {task}: {why}")
        self._tasks.add(task)

    def names(self, task: str) -> bool:
        """Whether a task was refused."""
        return task in self._tasks


def read_parameters(definitions: Any) -> dict[str, Parameter]:
    """The input parameters of a ComponentSpec's `input_definitions`."""
    from kfp.pipeline_spec import pipeline_spec_pb2 as pb  # noqa: PLC0415  seconds to import

    kinds = pb.ParameterType.ParameterTypeEnum
    return {
        name: Parameter(
            kinds.Name(spec.parameter_type),
            spec.HasField("default_value"),
            _value(spec.default_value) if spec.HasField("default_value") else None,
            spec.is_optional,
            tuple(_value(literal) for literal in spec.literals),
        )
        for name, spec in definitions.parameters.items()
    }


def read_task(
    name: str, task: Any, spec: Any, executors: dict[str, tuple[Any, Any]], refusals: Refusals
) -> Task | None:
    """Reads a task.

    Args:
        name: Its key.
        task: Its PipelineTaskSpec.
        spec: The PipelineSpec.
        executors: Executor label -> ExecutorSpec and KubernetesExecutorConfig.
        refusals: Receives what is not simulated.

    Returns:
        The task; None if it is refused as a whole.
    """
    reference = task.component_ref.name
    component = spec.components.get(reference)
    whole = _refused_whole(task, component, executors)
    if component is None or whole:
        refusals.add(name, whole or f"its component {reference!r} is not in the file")
        return None
    executor, kubernetes = executors[component.executor_label]
    container = executor.container
    before = len(refusals.found)
    parameters = _parameter_sources(name, task, refusals)
    artifacts = _artifact_sources(name, task, refusals)
    outputs = component.output_definitions
    declared = read_parameters(component.input_definitions)
    command = (*container.command, *container.args)
    _check_command(name, command, set(declared) | set(parameters), component, refusals)
    for mapped in (*kubernetes.secret_as_env, *kubernetes.config_map_as_env):
        _check_name(name, mapped, refusals)
    for field in kubernetes.field_path_as_env:
        if field.field_path not in POD_FIELDS:
            refusals.add(
                name,
                f"variable {field.name} is the pod's {field.field_path}; here there are "
                f"{', '.join(POD_FIELDS)}",
            )
    if len(refusals.found) > before:
        return None
    sources = (*parameters.values(), *artifacts.values())
    producers = [source.task for source in sources if isinstance(source, Output)]
    return Task(
        name=name,
        title=task.task_info.name or name,
        command=command,
        image=container.image,
        needs=tuple(dict.fromkeys([*task.dependent_tasks, *producers])),
        is_always_run=is_exit_task(task),
        parameters=parameters,
        artifacts=artifacts,
        declared=declared,
        output_parameters=_output_kinds(outputs),
        output_artifacts={
            key: json_format.MessageToDict(artifact.artifact_type)
            for key, artifact in outputs.artifacts.items()
        },
        environment=tuple((variable.name, variable.value) for variable in container.env),
        secrets=_mapped(kubernetes.secret_as_env, "secret"),
        config_maps=_mapped(kubernetes.config_map_as_env, "config_map"),
        fields=tuple((f.name, f.field_path) for f in kubernetes.field_path_as_env),
        mounts=_mounts(kubernetes),
        retry=_retry(task),
        timeout_s=float(kubernetes.active_deadline_seconds) or None,
        resources=_resources(container.resources),
    )


def _refused_whole(task: Any, component: Any, executors: dict[str, tuple[Any, Any]]) -> str:
    """Why a task cannot be read at all; empty if it can."""
    if component is None:
        return ""
    if component.HasField("dag"):
        return (
            "is a pipeline of its own; nested pipelines, dsl.If and dsl.ParallelFor, which compile "
            "to one, are not simulated, and dsl.ExitHandler around a whole pipeline alone"
        )
    if task.HasField("artifact_iterator") or task.HasField("parameter_iterator"):
        return "is a loop (dsl.ParallelFor), which is not simulated"
    if task.trigger_policy.condition:
        return "has a condition (dsl.If), which is not simulated"
    if component.executor_label not in executors:
        return f"its executor {component.executor_label!r} is not in the file"
    kind = executors[component.executor_label][0].WhichOneof("spec")
    if kind == "importer":
        return "is an importer (dsl.importer), which is not simulated"
    if kind != "container":
        return f"its executor is a {kind}; containers are simulated"
    container = executors[component.executor_label][0].container
    if not (container.command or container.args):
        return "has no command: what its image would start is not known here"
    if any("pip install" in word for word in (*container.command, *container.args)):
        return (
            "its command installs packages with pip, as Python function components "
            "(dsl.component) do; here that would change the interpreter that ordain runs in"
        )
    return ""


def _parameter_sources(name: str, task: Any, refusals: Refusals) -> dict[str, Source]:
    sources: dict[str, Source] = {}
    for key, spec in task.inputs.parameters.items():
        if spec.parameter_expression_selector:
            refusals.add(name, f"input {key} selects by an expression, which is not simulated")
            continue
        found = _source(spec)
        if found is None:
            refusals.add(name, f"input {key} is a {spec.WhichOneof('kind')}, not simulated")
            continue
        sources[key] = found
    return sources


def _source(spec: Any) -> Source | None:
    """Where an InputParameterSpec takes its value from; None if that is not simulated."""
    kind = spec.WhichOneof("kind")
    if kind == "component_input_parameter":
        return RunParameter(spec.component_input_parameter)
    if kind == "task_output_parameter":
        output = spec.task_output_parameter
        return Output(output.producer_task, output.output_parameter_key)
    if kind == "runtime_value" and spec.runtime_value.WhichOneof("value") == "constant":
        return Constant(_value(spec.runtime_value.constant))
    return None


def _artifact_sources(name: str, task: Any, refusals: Refusals) -> dict[str, Output]:
    sources = {}
    for key, spec in task.inputs.artifacts.items():
        if spec.WhichOneof("kind") != "task_output_artifact":
            refusals.add(name, f"input artifact {key} is given to the run, which is not simulated")
            continue
        output = spec.task_output_artifact
        sources[key] = Output(output.producer_task, output.output_artifact_key)
    return sources


def _check_command(
    name: str, command: tuple[str, ...], parameters: set[str], component: Any, refusals: Refusals
) -> None:
    """Refuses placeholders that nothing would fill, in a cluster either."""
    known = {EXECUTOR_INPUT}
    known |= {f"{{{{$.inputs.parameters['{key}']}}}}" for key in parameters}
    outputs = component.output_definitions
    known |= {f"{{{{$.outputs.parameters['{key}'].output_file}}}}" for key in outputs.parameters}
    for direction, definitions in (("inputs", component.input_definitions), ("outputs", outputs)):
        for key in definitions.artifacts:
            for part in ("uri", "path"):
                known.add(f"{{{{$.{direction}.artifacts['{key}'].{part}}}}}")
    for placeholder in dict.fromkeys(find_placeholders(command)):
        if placeholder in RUN_PLACEHOLDERS:
            refusals.add(
                name,
                f"{placeholder} stands in its command, where the backend does not fill it; "
                "pass it to the task as the whole value of an input",
            )
        elif placeholder not in known:
            refusals.add(name, f"nothing fills {placeholder} of its command")


def _check_name(name: str, mapped: Any, refusals: Refusals) -> None:
    kind = "secret" if hasattr(mapped, "secret_name") else "config_map"
    if isinstance(_owner(mapped, kind), Output):
        refusals.add(name, f"a {kind.replace('_', ' ')}'s name is the output of a task")


def _owner(mapped: Any, kind: str) -> Source:
    spec = getattr(mapped, f"{kind}_name_parameter")
    return _source(spec) or Constant(getattr(mapped, f"{kind}_name"))


def _mapped(found: Any, kind: str) -> tuple[Mapped, ...]:
    return tuple(
        Mapped(pair.env_var, _owner(one, kind), getattr(pair, f"{kind}_key"), one.optional)
        for one in found
        for pair in one.key_to_env
    )


def _mounts(kubernetes: Any) -> tuple[tuple[str, str], ...]:
    kinds = (
        ("volume claim", kubernetes.pvc_mount),
        ("secret", kubernetes.secret_as_volume),
        ("config map", kubernetes.config_map_as_volume),
        ("empty directory", kubernetes.empty_dir_mounts),
        ("ephemeral volume", kubernetes.generic_ephemeral_volume),
    )
    return tuple((mount.mount_path, kind) for kind, mounts in kinds for mount in mounts)


def _output_kinds(outputs: Any) -> dict[str, str]:
    from kfp.pipeline_spec import pipeline_spec_pb2 as pb  # noqa: PLC0415  as above

    kinds = pb.ParameterType.ParameterTypeEnum
    return {key: kinds.Name(spec.parameter_type) for key, spec in outputs.parameters.items()}


def _retry(task: Any) -> Retry:
    policy = task.retry_policy
    has_limit = policy.HasField("backoff_max_duration")
    return Retry(
        policy.max_retry_count,
        policy.backoff_duration.ToTimedelta().total_seconds(),
        policy.backoff_factor or 1.0,
        policy.backoff_max_duration.ToTimedelta().total_seconds() if has_limit else None,
    )


def _resources(resources: Any) -> dict[str, str]:
    found = {
        "cpu_limit": resources.resource_cpu_limit or resources.cpu_limit,
        "cpu_request": resources.resource_cpu_request or resources.cpu_request,
        "memory_limit": resources.resource_memory_limit
        or (f"{resources.memory_limit:g}G" if resources.memory_limit else ""),
        "memory_request": resources.resource_memory_request
        or (f"{resources.memory_request:g}G" if resources.memory_request else ""),
        "accelerator": resources.accelerator.resource_type or resources.accelerator.type,
        "accelerator_count": resources.accelerator.resource_count or resources.accelerator.count,
    }
    return {key: str(value) for key, value in found.items() if value}


def _value(value: Any) -> Any:
    """A protobuf Value as Python has it; whole numbers as int."""
    return json_format.MessageToDict(value)
