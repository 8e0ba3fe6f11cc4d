"""Concludes a run in pods as a local run is concluded: `result.json`, report page, notifications.

Two tasks conclude a run. `result` runs when all nodes have succeeded; its exit code fails the run
if nothing was published. `on-exit` runs at the end in any case and does the work of `result` if
that did not run. What was written and sent before is not repeated, so after a retry of the whole
run only changes are sent.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordain.config.project import Project
from ordain.errors import ExitCode, InfrastructureError, OrdainError
from ordain.history import recovery
from ordain.history.results import Failure, RunResult
from ordain.history.runs import History
from ordain.kubeflow.pipeline_root import concluding
from ordain.kubeflow.pod.notifications import notify
from ordain.kubeflow.pod.prepare import ProjectArguments
from ordain.kubeflow.pod.result_builder import build_result, task_failure
from ordain.kubeflow.pod.run_plan import PreparedRun, find_plan, read_prepared
from ordain.kubeflow.pod.task_records import never_began
from ordain.kubeflow.task_contract import PREPARE
from ordain.retraining.report import Report

_RESULT = "result.json"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Concluded:
    """A concluded run.

    Attributes:
        result: Its result.
        page: The run's page, if this task wrote it.
    """

    result: RunResult
    page: Path | None = None


def conclude_run(prepared: PreparedRun, say: Say) -> Concluded:
    """Builds a run's result, writes `result.json` and the page, and sends notifications.

    Args:
        prepared: The prepared run.
        say: Receives log lines.

    Raises:
        InfrastructureError: The result cannot be written or ML Metadata cannot be read.
    """
    project = prepared.load_project()
    history = History(project.metadata, project.name, project.paths)
    result = build_result(prepared, project, history)
    folder = project.runs / prepared.run_id
    page = None
    if not _is_written(result, folder):
        _write(result, folder)
        page = _write_page(project, prepared.run_id, say)
    if result.failure is None:
        # A failed run may be retried as a whole under the same id.
        recovery.mark_pods(history.store, prepared.run_id, is_over=True)
    started = datetime.datetime.fromisoformat(result.started)
    report = Report(int(result.exit_code), {}, (result.to_dict(),))
    notify(project, prepared.run_id, report, started, say)
    return Concluded(result, page)


def conclude_on_exit(arguments: ProjectArguments, run_id: str, say: Say) -> Concluded:
    """Concludes a run that succeeded or failed, unless `result` has done so.

    Args:
        arguments: The task's arguments.
        run_id: Kubeflow's id of the run.
        say: Receives log lines.

    Raises:
        OrdainError: The run was not prepared or cannot be concluded; notifications of it are
            sent if the configuration can be read.
    """
    started = datetime.datetime.now(datetime.UTC)
    project = arguments.load()
    with concluding(project, run_id, say):
        try:
            plan = find_plan(project.runs, run_id)
            if plan is None:
                raise _Unprepared(
                    task_failure(project.runs / run_id, PREPARE) or never_began(PREPARE)
                )
            return conclude_run(read_prepared(plan, run_id), say)
        except OrdainError as error:
            report = Report(int(error.exit_code), {}, (), error.message)
            notify(project, run_id, report, started, say)
            raise


class _Unprepared(OrdainError):
    """The run was not prepared: `prepare` failed with this error."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.node}: {failure.message}", failure.hint)
        self.exit_code = ExitCode(failure.exit_code)


def _is_written(result: RunResult, folder: Path) -> bool:
    """Returns true if the same result, apart from its duration, has been written before."""
    try:
        before: Any = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    now = json.loads(json.dumps(result.to_dict()))
    return isinstance(before, dict) and before | {"seconds": None} == now | {"seconds": None}


def _write(result: RunResult, folder: Path) -> None:
    try:
        result.write(folder)
    except OSError as error:
        raise InfrastructureError(
            f"{result.headline}; and {folder}/{_RESULT} cannot be written: {error.strerror}"
        ) from error


def _write_page(project: Project, run_id: str, say: Say) -> Path | None:
    from ordain.reports.at_run_end import write_run_report  # noqa: PLC0415  it takes a while to import

    path, line = write_run_report(project, run_id)
    say(line)
    return path
