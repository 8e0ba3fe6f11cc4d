"""Replaces exit handlers by their tasks.

`dsl.ExitHandler` compiles to a nested graph: a task for the group, and the exit task, which waits
for it. Here the group's tasks replace it and take its inputs, and the exit task waits for all of
them. Other nested graphs stay and are refused later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ordain.kubeflow.exit_tasks import is_exit_task


def flatten_exit_handlers(
    tasks: Mapping[str, Any], components: Mapping[str, Any]
) -> dict[str, Any]:
    """Replaces the group of each exit handler by its tasks.

    Args:
        tasks: Name -> `PipelineTaskSpec`, in the order of the file.
        components: The file's components.

    Returns:
        The tasks; changed ones are copies.
    """
    groups = {name for name in tasks if _is_group(name, tasks, components)}
    flat: dict[str, Any] = {}
    for name, task in tasks.items():
        if name in groups:
            inner = components[task.component_ref.name].dag.tasks
            flat |= {below: _given(inner[below], task) for below in sorted(inner)}
        elif is_exit_task(task) and set(task.dependent_tasks) <= groups:
            flat[name] = _behind(task, _inside(task.dependent_tasks, tasks, components))
        else:
            flat[name] = task
    return flat


def _is_group(name: str, tasks: Mapping[str, Any], components: Mapping[str, Any]) -> bool:
    """Returns true if a task is the group of an exit handler that can be replaced."""
    task = tasks[name]
    component = components.get(task.component_ref.name)
    if component is None or not component.HasField("dag"):
        return False
    behind = [other for other in tasks.values() if name in other.dependent_tasks]
    is_handled = len(behind) == 1 and is_exit_task(behind[0])
    is_plain = not (
        task.dependent_tasks
        or task.trigger_policy.condition
        or task.HasField("artifact_iterator")
        or task.HasField("parameter_iterator")
    )
    return is_handled and is_plain and not set(component.dag.tasks) & set(tasks)


def _inside(
    groups: Iterator[str], tasks: Mapping[str, Any], components: Mapping[str, Any]
) -> list[str]:
    return [
        below
        for group in groups
        for below in sorted(components[tasks[group].component_ref.name].dag.tasks)
    ]


def _given(task: Any, group: Any) -> Any:
    """A copy of a group's task that takes the group's inputs from the pipeline."""
    copy = type(task)()
    copy.CopyFrom(task)
    for spec in copy.inputs.parameters.values():
        if spec.WhichOneof("kind") == "component_input_parameter":
            outer = group.inputs.parameters.get(spec.component_input_parameter)
            if outer is not None:
                spec.CopyFrom(outer)
    return copy


def _behind(task: Any, names: list[str]) -> Any:
    copy = type(task)()
    copy.CopyFrom(task)
    del copy.dependent_tasks[:]
    copy.dependent_tasks.extend(names)
    return copy
