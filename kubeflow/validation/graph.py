"""Rules on the pipeline's graph: names, tasks and references."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ordain.kubeflow.exit_tasks import exit_problems
from ordain.kubeflow.validation.file import File, Problem

_PIPELINE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
_TASK_NAME = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")
MAX_TASK_NAME = 128
#: The SDK's form of a parameter inside a string; the launcher fills it.
_OWN_INPUT = re.compile(r"\{\{\$\.inputs\.parameters\['[^'{}]+'\]\}\}")
#: Placeholders that the driver replaces as a whole constant (KFP's driver/resolve.go).
RUNTIME_PLACEHOLDERS = tuple(
    f"{{{{$.pipeline_{name}}}}}"
    for name in ("job_name", "job_resource_name", "job_uuid", "task_name", "task_uuid")
)


def pipeline_name(file: File) -> Iterator[Problem]:
    """The API server accepts the name."""
    name = file.spec.pipeline_info.name
    if not _PIPELINE_NAME.fullmatch(name):
        yield (
            "pipelineInfo.name",
            repr(name),
            "lower-case letters, digits and '-', at most 128, not beginning with '-'",
        )


def root(file: File) -> Iterator[Problem]:
    """There is a root, and it has tasks."""
    if not file.spec.HasField("root"):
        yield "root", "nothing", "must be the pipeline's graph"
    elif file.spec.root.WhichOneof("implementation") != "dag" or not file.spec.root.dag.tasks:
        yield "root", "no tasks", "must be a graph (dag) with at least one task"


def task_name(file: File) -> Iterator[Problem]:
    """Argo accepts the names of the tasks."""
    for where, name, _, _ in file.tasks():
        if not _TASK_NAME.fullmatch(name) or len(name) > MAX_TASK_NAME:
            yield (
                where,
                repr(name[:160]),
                f"letters, digits and '-', at most {MAX_TASK_NAME}, not beginning with '-'",
            )


def component_ref(file: File) -> Iterator[Problem]:
    """Every task's component exists."""
    for where, _, task, _ in file.tasks():
        name = task.component_ref.name
        if name not in file.spec.components:
            yield f"{where}.componentRef", repr(name), _one_of(file.spec.components)


def executor_label(file: File) -> Iterator[Problem]:
    """Every component is a graph or has an existing executor."""
    for name, component in sorted(file.spec.components.items()):
        if component.WhichOneof("implementation") == "dag":
            continue
        label = component.executor_label
        if label not in file.executors:
            yield f"components.{name}.executorLabel", repr(label), _one_of(file.executors)


def dependent_task(file: File) -> Iterator[Problem]:
    """A task waits for other tasks of the same graph."""
    for where, name, task, graph in file.tasks():
        for other in task.dependent_tasks:
            if other not in graph.dag.tasks or other == name:
                yield f"{where}.dependentTasks", repr(other), "another task of the same graph"


def producer_task(file: File) -> Iterator[Problem]:
    """A task takes outputs only of tasks that it waits for."""
    for where, _, task, graph in file.tasks():
        for key, producer, output, kind in _taken(task):
            here = f"{where}.inputs.{kind}.{key}"
            if producer not in graph.dag.tasks:
                yield here, f"task {producer!r}", "a task of the same graph"
                continue
            made = file.spec.components.get(graph.dag.tasks[producer].component_ref.name)
            outputs = getattr(made.output_definitions, kind) if made is not None else {}
            if output not in outputs:
                yield here, f"output {output!r} of {producer}", _one_of(outputs)
            elif producer not in task.dependent_tasks:
                yield (
                    here,
                    f"task {producer!r}, which it does not wait for",
                    "dependentTasks names every task that something is taken from",
                )


def cycle(file: File) -> Iterator[Problem]:
    """The graph has no cycle."""
    for where, graph in file.dags():
        tasks = graph.dag.tasks
        # A task that waits for itself or for an unknown task breaks `dependent-task`.
        upstream = {n: {o for o in tasks[n].dependent_tasks if o in tasks} - {n} for n in tasks}
        try:
            TopologicalSorter(upstream).prepare()
        except CycleError as error:
            names = ", ".join(sorted(set(error.args[1])))
            yield f"{where}.dag", f"{names} wait for each other", "must be acyclic"


def exit_task(file: File) -> Iterator[Problem]:
    """A task that also runs after failures fits the backend's hooks."""
    for where, graph in file.dags():
        for name, got, allowed in exit_problems(graph.dag):
            yield f"{where}.dag.tasks.{name}", got, allowed


def task_inputs(file: File) -> Iterator[Problem]:
    """A task has all required inputs of its component and no others."""
    for where, _, task, graph in file.tasks():
        component = file.spec.components.get(task.component_ref.name)
        if component is None:
            continue
        for kind in ("parameters", "artifacts"):
            wanted = getattr(component.input_definitions, kind)
            given = getattr(task.inputs, kind)
            for key in sorted(given):
                if key not in wanted:
                    yield f"{where}.inputs.{kind}", repr(key), _one_of(wanted)
            for key, definition in sorted(wanted.items()):
                if key not in given and not definition.is_optional:
                    yield f"{where}.inputs.{kind}", f"no {key!r}", "it is required"
        yield from _graph_inputs(where, task, graph)


def _graph_inputs(where: str, task: Any, graph: Any) -> Iterator[Problem]:
    """Inputs that a task takes from its graph are declared there."""
    declared = graph.input_definitions.parameters
    for key, given in sorted(task.inputs.parameters.items()):
        name = given.component_input_parameter
        if given.WhichOneof("kind") == "component_input_parameter" and name not in declared:
            yield f"{where}.inputs.parameters.{key}", repr(name), _one_of(declared)


def constant(file: File) -> Iterator[Problem]:
    """A placeholder of the run is a whole constant that the driver fills."""
    for where, _, task, _ in file.tasks():
        for key, given in sorted(task.inputs.parameters.items()):
            value = given.runtime_value.constant.string_value
            rest = _OWN_INPUT.sub("", value)
            if "{{" in rest and rest not in RUNTIME_PLACEHOLDERS:
                yield (
                    f"{where}.inputs.parameters.{key}",
                    repr(value[:160]),
                    f"must be free of '{{{{', or one of {', '.join(RUNTIME_PLACEHOLDERS)} alone",
                )


def _taken(task: Any) -> Iterator[tuple[str, str, str, str]]:
    """Yields inputs taken from other tasks: key, producer, output and kind of input."""
    for key, given in sorted(task.inputs.parameters.items()):
        if given.WhichOneof("kind") == "task_output_parameter":
            source = given.task_output_parameter
            yield key, source.producer_task, source.output_parameter_key, "parameters"
    for key, given in sorted(task.inputs.artifacts.items()):
        if given.WhichOneof("kind") == "task_output_artifact":
            source = given.task_output_artifact
            yield key, source.producer_task, source.output_artifact_key, "artifacts"


def _one_of(names: Mapping[str, Any]) -> str:
    shown = sorted(names)[:20]
    return f"there are {', '.join(shown)}" if shown else "there are none"
