"""Load, plan and run a project.

Each function corresponds to the command of its name. Errors are `ordain.OrdainError`s; a run that
a gate blocked returns a result. TensorFlow and TFX are imported by the first run.
"""

from __future__ import annotations

import contextlib
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordain.api.arguments import check_project, setting_texts
from ordain.common.html_tables import html_table
from ordain.config import loading
from ordain.config.project import Project
from ordain.history.memory_estimate import MemoryEstimate, estimate_memory
from ordain.history.results import NodeResult, RunResult
from ordain.runner.local import Options, new_run_id
from ordain.runner.planned_nodes import planned_nodes
from ordain.runner.preflight import make_plan
from ordain.runner.run import plan_and_run
from ordain.runner.training_rows import unseen_rows
from ordain.runner.workspace_lock import workspace_lock


def load_project(
    folder: str | Path,
    env: str | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
) -> Project:
    """Loads a project's configuration.

    Args:
        folder: The folder that holds `pipeline.yaml`, or that file itself.
        env: Name of an overlay: `prod` reads `pipeline.prod.yaml` on top.
        settings: Values by dotted key, such as `{"train.steps": 500}`, or `a.b=value` texts;
            applied last.

    Raises:
        ConfigError: Names the file and the key, the value found, and what is allowed.
    """
    return loading.load_project(folder, env, setting_texts(settings))


@dataclass(frozen=True)
class RunPlan:
    """The plan of a run.

    Attributes:
        project: The project's name.
        window: Numbers of its spans, oldest first.
        nodes: Description of each node's work, by node id, in pipeline order.
        notes: Notes for the user, one sentence each.
        needed_bytes: Disk space the run may take.
        memory: Memory it may take, and what is free now.
    """

    project: str
    window: tuple[int, ...]
    nodes: Mapping[str, str]
    notes: tuple[str, ...]
    needed_bytes: int
    memory: MemoryEstimate

    def _repr_html_(self) -> str:
        rows = [{"node": node, "does": does} for node, does in self.nodes.items()]
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return html_table(rows, f"{self.project}: plan") + (f"<ul>{notes}</ul>" if notes else "")


def plan(project: Project, span: int | None = None) -> RunPlan:
    """Checks a project without running it.

    Args:
        project: The project.
        span: Last span of the window; None for the newest.

    Raises:
        ConfigError: The project is invalid.
        InfrastructureError: The workspace, the disk or the metadata store cannot be used.
    """
    check_project(project)
    made = make_plan(project, span)
    memory = estimate_memory(project, made.window)
    unseen = unseen_rows(project, memory.rows)
    return RunPlan(
        project=project.name,
        window=tuple(span.number for span in made.window),
        nodes=dict(planned_nodes(project, made)),
        notes=(*made.notes, *([unseen] if unseen is not None else [])),
        needed_bytes=made.needed_bytes,
        memory=memory,
    )


def run(
    project: Project,
    *,
    span: int | None = None,
    from_node: str | None = None,
    to_node: str | None = None,
    use_cache: bool = True,
    wait: bool = False,
    verbose: bool = True,
) -> RunResult:
    """Runs the pipeline in this process, while holding the workspace's lock.

    The first run of a process imports TensorFlow, TFX and Beam. Notifications are sent by the
    command line only.

    Args:
        project: The project.
        span: Last span of the window; None for the newest.
        from_node: First node to run; outputs of earlier nodes come from the last run.
        to_node: Last node to run.
        use_cache: Take nodes with unchanged inputs, settings and source from the cache.
        wait: Wait for another run in this workspace to end; otherwise that is an error.
        verbose: Print a line for each node.

    Returns:
        The result, also of a failed or blocked run: see `exit_code` and `headline`.

    Raises:
        ConfigError: The project is invalid, or a node does not exist.
        InfrastructureError: The workspace is in use, or it, the disk or the metadata store fails.
    """
    check_project(project)
    run_id = new_run_id()
    log = print if verbose else _ignore
    options = Options(use_cache=use_cache, from_node=from_node, to_node=to_node)
    with workspace_lock(
        project.workspace,
        run_id,
        wait,
        lambda holder: log(f"waiting for {holder}"),
        project.metadata,
    ) as hold:
        progress = contextlib.nullcontext(_Progress(log))
        result = plan_and_run(project, run_id, span, options, progress, hold)
    log(result.headline)
    return result


class _Progress:
    """Prints a line for each node that ends."""

    def __init__(self, log: Callable[[str], Any]) -> None:
        self._log = log

    def started(self, node: str, span: int | None) -> None:
        """Prints nothing: a node's line is printed when it ends."""

    def finished(self, result: NodeResult) -> None:
        why = f"  {result.reason}" if result.reason else ""
        self._log(f"{result.node:<18} {result.state:<9} {result.seconds:>8.1f} s{why}")


def _ignore(text: str) -> None:
    del text
