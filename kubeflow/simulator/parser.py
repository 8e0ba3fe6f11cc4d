"""Reads a compiled file into a `Job` and lists everything in it that cannot be simulated.

The file is parsed, and its graph and placeholders are checked, by the rules of
`ordain.kubeflow.validation`.
"""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from ordain.errors import ConfigError
from ordain.kubeflow.simulator.exit_handlers import flatten_exit_handlers
from ordain.kubeflow.simulator.job import Job, Task
from ordain.kubeflow.simulator.task_parser import read_task
from ordain.kubeflow.validation import graph as rules_graph
from ordain.kubeflow.validation import tasks as rules_tasks
from ordain.kubeflow.validation.validate import Rule, check, read_text

#: The rules without which a file has no single meaning. The others (sizes, names, quantities,
#: caching) are the cluster's limits, which do not apply here.
RULES: tuple[Rule, ...] = (
    rules_graph.root,
    rules_graph.component_ref,
    rules_graph.executor_label,
    rules_graph.dependent_task,
    rules_graph.producer_task,
    rules_graph.cycle,
    rules_graph.exit_task,
    rules_tasks.placeholder,
)


def read_job(path: Path) -> Job:
    """Reads a compiled file.

    Args:
        path: A file written by `ordain compile` or by the KFP compiler.

    Raises:
        ConfigError: It cannot be read, is not a compiled pipeline, or uses features that are not
            simulated; the message names every such task.
    """
    file = check(read_text(path), RULES, str(path))
    # A protobuf map has no order; the document has.
    graph = file.spec.root.dag.tasks
    specs = {name: graph[name] for name in file.document["root"]["dag"]["tasks"]}
    specs = flatten_exit_handlers(specs, file.spec.components)
    read = [read_task(name, spec, file) for name, spec in specs.items()]
    refused = [f"task {task.name}: {why}" for task, found in read for why in found]
    if refused:
        raise ConfigError(
            f"{path} cannot be simulated:\n  " + "\n  ".join(refused),
            "docs/kubeflow-simulate.md lists what can",
        )
    tasks = {task.name: task for task, _ in read}
    # `kfp.local.graph_utils` orders by dependentTasks too, but does not detect cycles.
    order = TopologicalSorter({name: task.needs for name, task in tasks.items()}).static_order()
    ordered = tuple(tasks[name] for name in order)
    return Job(
        file.spec.pipeline_info.name,
        file.spec.root.input_definitions.parameters,
        ordered,
        tuple(_notes(file.platform, ordered)),
    )


def _notes(platform: Any, tasks: tuple[Task, ...]) -> list[str]:
    notes = []
    cached = [task.name for task in tasks if task.spec.caching_options.enable_cache]
    if cached:
        notes.append(
            f"KFP's cache is on for {', '.join(cached)}: a cluster may skip them, here they run"
        )
    if any(task.resources for task in tasks):
        notes.append("limits and requests of CPU, memory and accelerators are not enforced here")
    volumes = sorted({path for task in tasks for path, _ in task.mounts})
    if volumes:
        notes.append(f"volumes are folders of this machine: {', '.join(volumes)}")
    pipeline = platform.platforms["kubernetes"].pipelineConfig
    if pipeline.active_deadline_seconds:
        notes.append(
            f"the run's deadline of {pipeline.active_deadline_seconds} s is not enforced here"
        )
    return notes
