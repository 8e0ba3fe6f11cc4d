"""Checks tasks that also run after failures: whether the backend runs them as specified.

The Argo compiler of Kubeflow Pipelines 2.16 (`dag.go`) removes a task with the trigger policy
`ALL_UPSTREAM_TASKS_COMPLETED` from its graph. The task becomes the exit hook of each task that it
waits for, and its own dependencies are dropped. It runs as specified only if

- it waits for one task, because the hook of each of several would run on its own;
- no other task waits for that task: when it fails and its dependants are omitted, Argo drops its
  hooks (argo-workflows#16057);
- that task has no other such hook, because the last hook replaces earlier ones;
- it takes no output of another task, which may be missing, and no task waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def is_exit_task(task: Any) -> bool:
    """Returns true if a `PipelineTaskSpec` also runs after failures."""
    policy = task.trigger_policy
    return bool(policy.strategy == policy.ALL_UPSTREAM_TASKS_COMPLETED)


def exit_problems(graph: Any) -> Iterator[tuple[str, str, str]]:
    """Exit tasks of a graph that the backend would not run as specified.

    Args:
        graph: A `DagSpec`.

    Yields:
        The task, what it specifies, and what is allowed.
    """
    tasks = graph.tasks
    for name in sorted(tasks):
        for other in tasks[name].dependent_tasks:
            if other in tasks and is_exit_task(tasks[other]):
                yield name, f"waits for {other}", "no task may wait for a task that runs as a hook"
        if not is_exit_task(tasks[name]):
            continue
        before = list(tasks[name].dependent_tasks)
        if len(before) != 1:
            names = ", ".join(before) or "nothing"
            yield name, f"waits for {names}", "must wait for one task: it would run once after each"
            continue
        beside = [n for n in sorted(tasks) if n != name and before[0] in tasks[n].dependent_tasks]
        if beside:
            yield (
                name,
                f"waits for {before[0]}, as {', '.join(beside)} do",
                "no other task may wait for it: Argo would drop or replace the hook",
            )
        inputs = tasks[name].inputs
        taken = [k for k, v in inputs.parameters.items() if v.HasField("task_output_parameter")]
        taken += [k for k, v in inputs.artifacts.items() if v.HasField("task_output_artifact")]
        if taken:
            yield (
                name,
                f"takes {', '.join(sorted(taken))} from other tasks",
                "may take constants and run parameters only: a failed task has no outputs",
            )
