"""Checks a compiled file against the backend's rules, without a backend.

The rules are those of Kubeflow Pipelines 2.16 (API server, driver and launcher), Argo and the
kernel. `docs/kubeflow-compile.md` lists them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ordain.errors import ConfigError
from ordain.kubeflow.validation import graph as rules_graph
from ordain.kubeflow.validation import sizes as rules_sizes
from ordain.kubeflow.validation import tasks as rules_tasks
from ordain.kubeflow.validation.file import MAX_FILE_BYTES, BrokenRule, File, Problem, read_file

#: A rule's name is that of its function, with `-` for `_`.
Rule = Callable[[File], Iterator[Problem]]
RULES: tuple[Rule, ...] = (
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
#: Broken rules listed in one message.
_SHOWN = 20
_COMPILE = "ordain compile PROJECT -o FILE"


def read_text(path: Path) -> str:
    """Reads a compiled file as text.

    Raises:
        ConfigError: It cannot be read, or is larger than the backend accepts.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ConfigError(
                f"{path}: {size} bytes; the backend accepts at most {MAX_FILE_BYTES}", _COMPILE
            )
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", _COMPILE) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}", _COMPILE) from error


def broken_rules(file: File, rules: Iterable[Rule]) -> list[BrokenRule]:
    """The given rules that a parsed file breaks."""
    return [BrokenRule(name_of(rule), *problem) for rule in rules for problem in rule(file)]


def name_of(rule: Rule) -> str:
    """The name of a rule in messages and in the docs."""
    return rule.__name__.replace("_", "-")


def check(text: str, rules: Iterable[Rule] = RULES, where: str = "the compiled file") -> File:
    """Checks a compiled file.

    Args:
        text: The file: a PipelineSpec and optionally a PlatformSpec.
        rules: The rules to apply after parsing; default: all.
        where: The file's name, for the error.

    Returns:
        The parsed file.

    Raises:
        ConfigError: It breaks rules; the message lists where, what was found and what is allowed.
    """
    try:
        file = read_file(text)
        broken = broken_rules(file, rules)
    except BrokenRule as error:
        broken = [error]
    if broken:
        lines = [str(rule) for rule in broken[:_SHOWN]]
        if len(broken) > _SHOWN:
            lines.append(f"and {len(broken) - _SHOWN} more")
        raise ConfigError(
            f"{where}: Kubeflow Pipelines would refuse it:\n" + "\n".join(lines),
            "see docs/kubeflow-compile.md#the-rules",
        )
    return file
