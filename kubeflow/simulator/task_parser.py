"""Reads one task of a compiled file: container, inputs, outputs, retries, environment."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from ordain.kubeflow.exit_tasks import is_exit_task
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
from ordain.kubeflow.validation.file import File

#: Pod fields that a variable may refer to.
POD_FIELDS = ("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName")


class Refusals:
    """Features of a file that are not simulated, by task."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, task: str, why: str) -> None:
        """Adds one."""
        self.found.append(f"task {task}: {why}")


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


def read_task(name: str, task: Any, file: File, refusals: Refusals) -> Task | None:
    """Reads a task.

    Args:
        name: Its key.
        task: Its PipelineTaskSpec.
        file: The file, whose components and executors exist.
        refusals: Receives what is not simulated.

    Returns:
        The task; None if it is refused as a whole.
    """
    component = file.spec.components[task.component_ref.name]
    executor = file.executors.get(component.executor_label)
    why = _refused_whole(task, component, executor)
    if why or executor is None:
        refusals.add(name, why)
        return None
    from kfp.kubernetes import kubernetes_executor_config_pb2 as kpb  # noqa: PLC0415  as below

    kubernetes = file.pods.get(component.executor_label, kpb.KubernetesExecutorConfig())
    container = executor.container
    before = len(refusals.found)
    parameters = _parameter_sources(name, task, refusals)
    artifacts = _artifact_sources(name, task, refusals)
    outputs = component.output_definitions
    for mapped in (*kubernetes.secret_as_env, *kubernetes.config_map_as_env):
        _check_name(name, mapped, refusals)
    for field in kubernetes.field_path_as_env:
        if field.field_path not in POD_FIELDS:
            refusals.add(
                name,
                f"variable {field.name} is the pod's {field.field_path}; simulated are "
                f"{', '.join(POD_FIELDS)}",
            )
    if len(refusals.found) > before:
        return None
    return Task(
        name=name,
        title=task.task_info.name or name,
        command=(*container.command, *container.args),
        image=container.image,
        needs=tuple(task.dependent_tasks),
        is_always_run=is_exit_task(task),
        parameters=parameters,
        artifacts=artifacts,
        declared=read_parameters(component.input_definitions),
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


def _refused_whole(task: Any, component: Any, executor: Any) -> str:
    """Why a task cannot be simulated at all; empty if it can."""
    if component.HasField("dag"):
        return (
            "is a nested graph (dsl.If, dsl.ParallelFor, a pipeline in a pipeline), which is not "
            "simulated; dsl.ExitHandler is only around a whole pipeline"
        )
    if task.HasField("artifact_iterator") or task.HasField("parameter_iterator"):
        return "is a loop (dsl.ParallelFor), which is not simulated"
    if task.trigger_policy.condition:
        return "has a condition (dsl.If), which is not simulated"
    kind = executor.WhichOneof("spec")
    if kind == "importer":
        return "is an importer (dsl.importer), which is not simulated"
    if kind != "container":
        return f"its executor is a {kind}; only containers are simulated"
    container = executor.container
    if not (container.command or container.args):
        return "has no command; the image's entrypoint is unknown here"
    if any("pip install" in word for word in (*container.command, *container.args)):
        return (
            "its command installs packages with pip, as Python function components "
            "(dsl.component) do; that would change the interpreter that runs ordain"
        )
    return ""


def _parameter_sources(name: str, task: Any, refusals: Refusals) -> dict[str, Source]:
    sources: dict[str, Source] = {}
    for key, spec in task.inputs.parameters.items():
        if spec.parameter_expression_selector:
            refusals.add(name, f"input {key} uses an expression selector, which is not simulated")
            continue
        found = _source(spec)
        if found is None:
            refusals.add(
                name, f"input {key} is a {spec.WhichOneof('kind')}, which is not simulated"
            )
            continue
        sources[key] = found
    return sources


def _source(spec: Any) -> Source | None:
    """The source of an InputParameterSpec; None if it is not simulated."""
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
            refusals.add(
                name, f"input artifact {key} is an input of the run, which is not simulated"
            )
            continue
        output = spec.task_output_artifact
        sources[key] = Output(output.producer_task, output.output_artifact_key)
    return sources


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
    """A protobuf Value as a Python value; whole numbers as int."""
    return json_format.MessageToDict(value)
