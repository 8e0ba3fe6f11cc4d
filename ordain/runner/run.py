"""One run of a project from its files to its result: what `ordain run` and `ordain retrain` share.

The caller holds the workspace (`ordain.runner.workspace_lock`). Nothing here imports TensorFlow or
TFX before the plan has passed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager

import yaml

from ordain.config.project import Project
from ordain.errors import InfrastructureError
from ordain.history.results import NodeResult, RunResult
from ordain.runner.local import Listener, Options, run_project
from ordain.runner.preflight import Plan, make_plan
from ordain.runner.workspace_lock import Hold


def plan_and_run(
    project: Project,
    run_id: str,
    span: int | None,
    options: Options,
    drawing: AbstractContextManager[Listener],
    hold: Hold,
    on_plan: Callable[[Plan], None] = lambda _: None,
) -> RunResult:
    """Checks a project, writes down its configuration beside the run, and runs its chain.

    Args:
        project: The project.
        run_id: The run's id, from `ordain.runner.local.new_run_id`.
        span: Last span of the window; None for the newest there is.
        options: What part to run, and whether the cache may be used.
        drawing: Entered while the chain runs; what it gives is told what happens.
        hold: The workspace, which is checked before each launch.
        on_plan: Is told the plan before anything of it runs.

    Raises:
        ConfigError: Something in the project is wrong.
        InfrastructureError: The workspace, the disk or the metadata store is, or `hold` was lost.
    """
    quiet_libraries()
    plan = make_plan(project, span)
    on_plan(plan)
    _write_config(project, run_id)
    with drawing as listener:
        return run_project(project, plan, run_id, options, _Holding(hold, listener))


class _Holding:
    """Hands on what a run tells, and ends it before a launch if its hold was lost."""

    def __init__(self, hold: Hold, listener: Listener) -> None:
        self._hold = hold
        self._listener = listener

    def started(self, node: str, span: int | None) -> None:
        self._hold.check()
        self._listener.started(node, span)

    def finished(self, result: NodeResult) -> None:
        self._listener.finished(result)


def quiet_libraries() -> None:
    """Settings TensorFlow and its family read at import."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # the same numbers on every CPU


def _write_config(project: Project, run_id: str) -> None:
    """The effective configuration beside the run, with `${env:...}` left as it is."""
    folder = project.runs / run_id
    try:
        folder.mkdir(parents=True)
        text = yaml.safe_dump(dict(project.effective), sort_keys=False, allow_unicode=True)
        (folder / "pipeline.yaml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise InfrastructureError(
            f"{folder} cannot be written: {error}", "free space or correct permissions"
        ) from error
