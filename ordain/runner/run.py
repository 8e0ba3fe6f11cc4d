"""A run of a project from its files to its result, for `ordain run`, `ordain retrain` and the API.

The caller holds the workspace (`ordain.runner.workspace_lock`). TensorFlow and TFX are imported
only after the plan has passed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager

import yaml

from ordain.common.atomic_files import write_file
from ordain.config.project import Project
from ordain.errors import InfrastructureError
from ordain.history.results import RunResult
from ordain.runner.local import Listener, Options, run_project
from ordain.runner.preflight import Plan, make_plan
from ordain.runner.workspace_lock import RunLocks


def plan_and_run(
    project: Project,
    run_id: str,
    span: int | None,
    options: Options,
    progress: AbstractContextManager[Listener],
    locks: RunLocks,
    on_plan: Callable[[Plan], None] = lambda _: None,
) -> RunResult:
    """Checks a project, writes its configuration to the run's folder, and runs its pipeline.

    Args:
        project: The project.
        run_id: The run's id, from `ordain.runner.local.new_run_id`.
        span: Last span of the window; None for the newest.
        options: The nodes to run, and whether the cache may be used.
        progress: Entered while the pipeline runs; its listener receives the run's events.
        locks: The run's locks, which are checked before each launch.
        on_plan: Called with the plan before the first node runs.

    Raises:
        ConfigError: The project is not valid.
        InfrastructureError: The workspace, the disk or the metadata store cannot be used, or a lock
            was lost.
    """
    quiet_libraries()
    plan = make_plan(project, span)
    on_plan(plan)
    # References `${env:...}` stay unresolved.
    config = yaml.safe_dump(dict(project.effective), sort_keys=False, allow_unicode=True)
    folder = project.runs / run_id
    try:
        folder.mkdir(parents=True)
    except OSError as error:  # there is one already, or none can be made
        raise InfrastructureError(f"{folder} cannot be created: {error}") from error
    write_file(folder / "pipeline.yaml", config)
    with progress as listener:
        return run_project(project, plan, run_id, options, listener, locks.check)


def quiet_libraries() -> None:
    """Sets the variables that TensorFlow reads at import."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # the same numbers on every CPU
