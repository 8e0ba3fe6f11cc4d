"""Tasks that run after failures too, and which of them the backend runs as they are meant.

Argo compiler of Kubeflow Pipelines 2.16, `dag.go`: a task whose trigger policy is
`ALL_UPSTREAM_TASKS_COMPLETED` is no task of its graph any more. It becomes the exit hook of each
task that it waits for, and its own dependencies are dropped. So it runs as its file says only where

- it waits for one task: the hook of each of several runs by itself;
- nobody else waits for that task: when one fails and what is behind it is omitted, Argo forgets
  its hooks (argo-workflows#16057);
- that task has no other such hook: the last one replaces those before;
- it takes nothing that another task makes, which need not be there, and nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def is_exit_task(task: Any) -> bool:
    """Whether a `PipelineTaskSpec` asks to run after failures too."""
    policy = task.trigger_policy
    return bool(policy.strategy == policy.ALL_UPSTREAM_TASKS_COMPLETED)


def exit_problems(graph: Any) -> Iterator[tuple[str, str, str]]:
    """What the backend would do otherwise than the tasks of a graph ask for.

    Args:
        graph: A `DagSpec`.

    Yields:
        The task, what it asks for, and what is allowed.
    """
    tasks = graph.tasks
    for name in sorted(tasks):
        for other in tasks[name].dependent_tasks:
            if other in tasks and is_exit_task(tasks[other]):
                yield name, f"waits for {other}", "nothing waits for a task that runs as a hook"
        if not is_exit_task(tasks[name]):
            continue
        before = list(tasks[name].dependent_tasks)
        if len(before) != 1:
            told = ", ".join(before) or "nothing"
            yield name, f"waits for {told}", "one task: it would run once after each"
            continue
        beside = [n for n in sorted(tasks) if n != name and before[0] in tasks[n].dependent_tasks]
        if beside:
            yield (
                name,
                f"waits for {before[0]}, as {', '.join(beside)} do",
                "a task that nobody else waits for: Argo would leave it out or replace it",
            )
        inputs = tasks[name].inputs
        taken = [k for k, v in inputs.parameters.items() if v.HasField("task_output_parameter")]
        taken += [k for k, v in inputs.artifacts.items() if v.HasField("task_output_artifact")]
        if taken:
            yield (
                name,
                f"takes {', '.join(sorted(taken))} from other tasks",
                "constants and parameters of the run: a task that failed leaves nothing",
            )
