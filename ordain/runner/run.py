"""One run of a project from its files to its result: what `ordain run` and `ordain retrain` share.

The caller holds the workspace (`ordain.runner.workspace_lock`). Nothing here imports TensorFlow or
TFX before the plan has passed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import yaml

from ordain.config.loading import load_project, read_effective
from ordain.config.project import Project
from ordain.errors import InfrastructureError
from ordain.runner.local import Listener, Options, run_project
from ordain.runner.preflight import Plan, make_plan
from ordain.runner.workspace_lock import Hold
from ordain.runs.results import NodeResult, RunResult


@dataclass(frozen=True)
class Target:
    """A project as a command names it.

    Attributes:
        folder: The folder that holds `pipeline.yaml`, or that file itself.
        env: Name of an overlay, or None.
        settings: `a.b=value` texts.
    """

    folder: str | Path
    env: str | None = None
    settings: tuple[str, ...] = ()

    def load(self) -> Project:
        """The project (see `ordain.config.loading.load_project`)."""
        return load_project(self.folder, self.env, self.settings)


def run_target(
    target: Target,
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
        target: What the command named.
        project: The same, loaded.
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
    _write_config(target, project, run_id)
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


def _write_config(target: Target, project: Project, run_id: str) -> None:
    """The effective configuration beside the run, with `${env:...}` left as it is."""
    raw, _ = read_effective(target.folder, target.env, target.settings)
    folder = project.runs / run_id
    try:
        folder.mkdir(parents=True)
        text = yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)
        (folder / "pipeline.yaml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise InfrastructureError(
            f"{folder} cannot be written: {error}", "free space or correct permissions"
        ) from error
