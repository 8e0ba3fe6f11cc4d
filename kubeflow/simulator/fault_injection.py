"""Injected failures: `TASK:kill|term|lose[@WHEN][#ATTEMPT]`.

`kill` acts like the kernel on a container out of memory, `term` like Kubernetes when it evicts a
pod, and `lose` like a lost node: the pod ends without an exit code.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ordain.errors import ConfigError
from ordain.kubeflow.simulator.job import Job

KINDS = ("kill", "term", "lose")
_FORM = re.compile(r"(?P<task>[^:]+):(?P<kind>[a-z]+)(?P<when>@.+?)?(?P<attempt>#[0-9]+)?")
_EXPECTED = (
    "expected TASK:kill|term|lose, then @SECONDS after the attempt's start or @~TEXT when its "
    "output holds TEXT, then #ATTEMPT; for example trainer:kill@5#1"
)


@dataclass(frozen=True)
class Injection:
    """One injected failure.

    Attributes:
        text: The option's value.
        task: The task's name.
        kind: `kill`, `term` or `lose`.
        after_s: Seconds after the attempt's start.
        line: Text in the task's output that triggers it; empty: `after_s` triggers it.
        attempt: Number of the attempt, from 1.
    """

    text: str
    task: str
    kind: str
    after_s: float = 0.0
    line: str = ""
    attempt: int = 1


def read_injections(texts: Iterable[str], job: Job) -> tuple[Injection, ...]:
    """Reads `--inject`.

    Args:
        texts: The option's values.
        job: The pipeline; a task is named by its name or by its display name.

    Raises:
        ConfigError: One is malformed, or its task or kind is unknown.
    """
    return tuple(_read(text, job) for text in texts)


def _read(text: str, job: Job) -> Injection:
    match = _FORM.fullmatch(text)
    if match is None or match["kind"] not in KINDS:
        raise ConfigError(f"--inject {text}: {_EXPECTED}")
    names = {task.name: task.name for task in job.tasks}
    names |= {task.title: task.name for task in job.tasks if task.title not in names}
    if match["task"] not in names:
        near = difflib.get_close_matches(match["task"], names, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(
            f"--inject {text}: there is no task {match['task']}{meant} "
            f"Tasks: {', '.join(task.name for task in job.tasks)}"
        )
    when = (match["when"] or "@0")[1:]
    attempt = int((match["attempt"] or "#1")[1:])
    after_s, line = 0.0, ""
    if when.startswith("~") and len(when) > 1:
        line = when[1:]
    else:
        try:
            after_s = float(when)
        except ValueError:
            raise ConfigError(f"--inject {text}: {_EXPECTED}") from None
    if attempt < 1 or not 0 <= after_s < float("inf"):
        raise ConfigError(f"--inject {text}: {_EXPECTED}")
    return Injection(text, names[match["task"]], match["kind"], after_s, line, attempt)
