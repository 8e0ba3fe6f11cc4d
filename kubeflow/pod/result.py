"""What became of a run in pods: `result.json`, the page, and whom to tell, as of a local run.

Two tasks conclude a run. `result` runs when all nodes have succeeded, and its exit code makes the
run red where nothing was published. `on-exit` runs after everything, however it ended: where
`result` did not come to run, it does its work. What is written and told already is not done again,
so that after a retry of the whole run only what has changed since is told.
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
from ordain.kubeflow.pod.notifications import tell
from ordain.kubeflow.pod.prepare import load_asked
from ordain.kubeflow.pod.result_builder import tally_run, task_failure
from ordain.kubeflow.pod.run_plan import Chain, check_run_id, find_plan, read_chain
from ordain.kubeflow.pod.task_records import never_began
from ordain.kubeflow.task_contract import PREPARE
from ordain.retraining.report import Report

_RESULT = "result.json"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Concluded:
    """A run that was concluded.

    Attributes:
        result: Its result.
        page: The run's page, where this task wrote it.
    """

    result: RunResult
    page: Path | None = None


@dataclass(frozen=True)
class Told:
    """What `on-exit` was told, each as `ordain.kubeflow.pod.prepare.Asked` has it."""

    project: str
    config: str
    env: str
    settings: str
    pipeline_root: str
    run_id: str


def conclude_run(chain: Chain, say: Say) -> Concluded:
    """Tallies a run, writes its `result.json` and its page, and sends its notices.

    Args:
        chain: The run's chain.
        say: Is told what happens, a line each.

    Raises:
        InfrastructureError: The result cannot be written, or ML Metadata not be read.
    """
    project = chain.load_project()
    history = History(project.metadata, project.name, project.paths)
    result = tally_run(chain, project, history)
    folder = project.runs / chain.run_id
    page = None
    if not _is_written(result, folder):
        _write(result, folder)
        page = _write_page(project, chain.run_id, say)
    if result.failure is None:
        # A run that failed may be tried again as a whole, under the same id.
        recovery.mark_pods(history.store, chain.run_id, is_over=True)
    started = datetime.datetime.fromisoformat(result.started)
    report = Report(int(result.exit_code), {}, (result.to_dict(),))
    tell(project, chain.run_id, report, started, say)
    return Concluded(result, page)


def conclude_on_exit(told: Told, say: Say) -> Concluded:
    """Concludes a run as far as nobody has, whatever it came to.

    Args:
        told: What the task was told.
        say: Is told what happens, a line each.

    Raises:
        OrdainError: There is no chain to tally, or the run cannot be concluded; notices are sent
            of it where the configuration can be read.
    """
    run_id = check_run_id(told.run_id)
    started = datetime.datetime.now(datetime.UTC)
    project = load_asked(told.project, told.config, told.env, told.settings, told.pipeline_root)
    with concluding(project, run_id, say):
        try:
            plan = find_plan(project.runs, run_id)
            if plan is None:
                raise _Unprepared(
                    task_failure(project.runs / run_id, PREPARE) or never_began(PREPARE)
                )
            return conclude_run(read_chain(plan, run_id), say)
        except OrdainError as error:
            report = Report(int(error.exit_code), {}, (), error.message)
            tell(project, run_id, report, started, say)
            raise


class _Unprepared(OrdainError):
    """The run has no chain: `prepare` failed, with this."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.node}: {failure.message}", failure.hint)
        self.exit_code = ExitCode(failure.exit_code)


def _is_written(result: RunResult, folder: Path) -> bool:
    """Whether this very result is there; it took less time then, and nothing else has changed."""
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
