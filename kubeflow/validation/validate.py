"""The backend's rules, checked on a compiled file without a backend.

Each rule is one that Kubeflow Pipelines 2.16 (its API server, driver and launcher), Argo or the
kernel holds a file to; who breaks one learns it here instead of from a pod that does not start.
`docs/kubeflow-compile.md` lists them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ordain.errors import ConfigError
from ordain.kubeflow.validation import graph as rules_graph
from ordain.kubeflow.validation import sizes as rules_sizes
from ordain.kubeflow.validation import tasks as rules_tasks
from ordain.kubeflow.validation.file import BrokenRule, File, read_file

RULES: tuple[Callable[[File], Iterator[BrokenRule]], ...] = (
    rules_graph.pipeline_name,
    rules_graph.root,
    rules_graph.task_name,
    rules_graph.component_ref,
    rules_graph.executor_label,
    rules_graph.dependent_task,
    rules_graph.producer_task,
    rules_graph.cycle,
    rules_graph.exit_task,
    rules_graph.task_inputs,
    rules_graph.constant,
    rules_tasks.executor_kind,
    rules_tasks.image,
    rules_sizes.argument_size,
    rules_sizes.driver_argument,
    rules_tasks.placeholder,
    rules_tasks.template,
    rules_tasks.expansion,
    rules_tasks.caching,
    rules_tasks.retry_policy,
    rules_tasks.resources,
    rules_tasks.environment,
    rules_tasks.platform,
)
#: More of them help nobody.
_SHOWN = 20


def find_broken(text: str) -> list[BrokenRule]:
    """The rules that a compiled file breaks; empty for a file that the backend takes."""
    try:
        file = read_file(text)
    except BrokenRule as broken:
        return [broken]
    return [broken for rule in RULES for broken in rule(file)]


def check(text: str) -> None:
    """Checks a compiled file.

    Args:
        text: The file: PipelineSpec, and PlatformSpec where there is one.

    Raises:
        ConfigError: It breaks rules; names each, where, what it got and what is allowed.
    """
    broken = find_broken(text)
    if broken:
        lines = [str(rule) for rule in broken[:_SHOWN]]
        if len(broken) > _SHOWN:
            lines.append(f"and {len(broken) - _SHOWN} more")
        raise ConfigError(
            "Kubeflow Pipelines would refuse this file:\n" + "\n".join(lines),
            "docs/kubeflow-compile.md#the-rules says more about each",
        )
