"""Builds the result of a run in pods from ML Metadata and the tasks' records."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ordain.config.project import Project
from ordain.history.result_builder import Launches, ResultBuilder
from ordain.history.results import Failure, NodeResult, RunResult
from ordain.history.runs import History, NodeRun
from ordain.kubeflow.pod.run_plan import PreparedRun
from ordain.kubeflow.pod.task_records import Record, killed, never_began, read_record
from ordain.kubeflow.task_contract import PREPARE

_SUCCEEDED = ("complete", "cached")


def node_names(prepared: PreparedRun) -> list[str]:
    """The node ids in execution order."""
    return [node["pipeline_node"]["node_info"]["id"] for node in prepared.ir["nodes"]]


def results_before(
    prepared: PreparedRun, project: Project, history: History, node: str
) -> ResultBuilder:
    """A result builder with the results of the nodes before the given one."""
    names = node_names(prepared)
    return _collect(prepared, project, history, names[: names.index(node)])[0]


def build_result(prepared: PreparedRun, project: Project, history: History) -> RunResult:
    """Builds the result of a finished run.

    A node failed if the record of its last attempt says so or was never completed. Nodes after it
    are not in the result, as in a local run.

    Args:
        prepared: The prepared run.
        project: The project.
        history: Its past runs.
    """
    builder, failure = _collect(prepared, project, history, node_names(prepared))
    run = history.read_run(prepared.run_id)
    started = datetime.datetime.fromtimestamp(run.started_ms / 1000, datetime.UTC)
    seconds = (datetime.datetime.now(datetime.UTC) - started).total_seconds()
    return builder.conclude(started, seconds, failure, recovered=prepared.recovered)


def _collect(
    prepared: PreparedRun, project: Project, history: History, names: Sequence[str]
) -> tuple[ResultBuilder, Failure | None]:
    launches: dict[str, list[NodeRun]] = defaultdict(list)
    for launch in history.read_run(prepared.run_id).nodes:
        launches[launch.node].append(launch)
    builder = ResultBuilder(project, prepared.run_id, prepared.spans)
    folder = project.runs / prepared.run_id
    failure, missing = None, []
    for name in names:
        found = sorted(launches[name], key=lambda launch: launch.span or 0)
        log = folder / "logs" / f"{name}.log"
        record = read_record(folder, name)
        if record is None and not found:
            missing.append(name)
            continue
        trouble = _trouble(name, record, found)
        if trouble is not None:
            failure = failure or trouble
            ids = tuple(launch.execution_id for launch in found)
            recorded = record.node if record is not None else None
            builder.add_failed(
                recorded or NodeResult(name, "failed", reason=trouble.message, execution_ids=ids)
            )
            continue
        builder.add(
            Launches(
                node=name,
                states=tuple(launch.state for launch in found) or ("skipped",),
                execution_ids=tuple(launch.execution_id for launch in found),
                outputs=tuple(output for launch in found for output in launch.outputs),
                seconds=sum(launch.seconds for launch in found),
                log=log if log.is_file() else None,
            )
        )
    if missing and failure is None:
        # No started node failed, but not all started.
        failure = task_failure(folder, PREPARE) or never_began(missing[0])
    return builder, failure


def task_failure(run: Path, task: str) -> Failure | None:
    """The failure of a task; None if it succeeded or never started.

    Args:
        run: The run's folder.
        task: The node's id, or the task's name.
    """
    record = read_record(run, task)
    if record is None or record.is_done:
        return None
    return record.failure or killed(task)


def _trouble(name: str, record: Record | None, found: Sequence[NodeRun]) -> Failure | None:
    """The failure of a node; None if it did not fail."""
    unfinished = [launch for launch in found if launch.state not in _SUCCEEDED]
    if record is not None and record.failure is not None:
        return record.failure
    is_done = record is None or record.is_done
    if is_done and not unfinished:
        return None
    span = unfinished[0].span if unfinished else None
    return killed(name if span is None else f"{name}, span {span}")
