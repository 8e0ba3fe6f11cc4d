"""Finds out whether a task of a compiled file can be simulated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ordain.kubeflow.simulator.job import Task
from ordain.kubeflow.validation.file import File

#: Pod fields that a variable may refer to.
POD_FIELDS = ("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName")


def read_task(name: str, spec: Any, file: File) -> tuple[Task, list[str]]:
    """Reads a task.

    Args:
        name: Its key.
        spec: Its PipelineTaskSpec.
        file: The file, whose components and executors exist.

    Returns:
        The task, and why it cannot be simulated; empty if it can.
    """
    from kfp.kubernetes import kubernetes_executor_config_pb2 as kpb  # noqa: PLC0415  seconds

    component = file.spec.components[spec.component_ref.name]
    executor = file.executors.get(component.executor_label)
    why = _refused_whole(spec, component, executor)
    pod = file.pods.get(component.executor_label, kpb.KubernetesExecutorConfig())
    container = executor.container if executor is not None else None
    task = Task(name, spec, component, container, pod)
    return task, [why] if why else [*_refused_inputs(task), *_refused_variables(task)]


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


def _refused_inputs(task: Task) -> Iterator[str]:
    for key, source in task.spec.inputs.parameters.items():
        kind = source.WhichOneof("kind")
        is_constant = source.runtime_value.WhichOneof("value") == "constant"
        if source.parameter_expression_selector:
            yield f"input {key} uses an expression selector, which is not simulated"
        elif kind not in ("component_input_parameter", "task_output_parameter") and not is_constant:
            yield f"input {key} is a {kind}, which is not simulated"
    for key, source in task.spec.inputs.artifacts.items():
        if source.WhichOneof("kind") != "task_output_artifact":
            yield f"input artifact {key} is an input of the run, which is not simulated"


def _refused_variables(task: Task) -> Iterator[str]:
    for one in task.pod.secret_as_env:
        if one.secret_name_parameter.HasField("task_output_parameter"):
            yield "a secret's name is the output of a task"
    for one in task.pod.config_map_as_env:
        if one.config_map_name_parameter.HasField("task_output_parameter"):
            yield "a config map's name is the output of a task"
    for field in task.pod.field_path_as_env:
        if field.field_path not in POD_FIELDS:
            yield (
                f"variable {field.name} is the pod's {field.field_path}; simulated are "
                f"{', '.join(POD_FIELDS)}"
            )
