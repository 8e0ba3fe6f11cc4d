"""A run in pods, tallied from ML Metadata: no task saw more than its own node."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ordain.config.project import Project
from ordain.history.result_builder import Launches, Tally
from ordain.history.results import Failure, NodeResult, RunResult
from ordain.history.runs import History, NodeRun
from ordain.kubeflow.pod.prepare import recovered_of
from ordain.kubeflow.pod.run_plan import Chain
from ordain.kubeflow.pod.task_records import Record, killed, never_began, read_record
from ordain.kubeflow.task_contract import PREPARE

_SUCCEEDED = ("complete", "cached")


def node_names(chain: Chain) -> list[str]:
    """The chain's nodes, in its order."""
    return [node["pipeline_node"]["node_info"]["id"] for node in chain.ir["nodes"]]


def tally_before(chain: Chain, project: Project, history: History, node: str) -> Tally:
    """What the nodes before one of the chain came to."""
    names = node_names(chain)
    return _tally(chain, project, history, names[: names.index(node)])[0]


def tally_run(chain: Chain, project: Project, history: History) -> RunResult:
    """The result of a run in which everything has run that could.

    A node failed if its last try says so, or began and left no word. Of the nodes behind it there
    is nothing in the result, as in a local run's.

    Args:
        chain: The run's chain.
        project: The project.
        history: Its past runs.
    """
    tally, failure = _tally(chain, project, history, node_names(chain))
    run = history.read_run(chain.run_id)
    started = datetime.datetime.fromtimestamp(run.started_ms / 1000, datetime.UTC)
    seconds = (datetime.datetime.now(datetime.UTC) - started).total_seconds()
    return tally.conclude(started, seconds, failure, recovered=recovered_of(chain))


def _tally(
    chain: Chain, project: Project, history: History, names: Sequence[str]
) -> tuple[Tally, Failure | None]:
    launches: dict[str, list[NodeRun]] = defaultdict(list)
    for launch in history.read_run(chain.run_id).nodes:
        launches[launch.node].append(launch)
    tally = Tally(project, chain.run_id, chain.spans)
    folder = project.runs / chain.run_id
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
            told = record.node if record is not None else None
            tally.add_failed(
                told or NodeResult(name, "failed", reason=trouble.message, execution_ids=ids)
            )
            continue
        tally.add(
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
        # Nothing that began failed, and yet not all began.
        failure = task_failure(folder, PREPARE) or never_began(missing[0])
    return tally, failure


def task_failure(run: Path, task: str) -> Failure | None:
    """Why a task did not come to a good end, as far as it is known; None if it did, or never began.

    Args:
        run: The run's folder.
        task: The node's id, or the task's name.
    """
    record = read_record(run, task)
    if record is None or record.is_done:
        return None
    return record.failure or killed(task)


def _trouble(name: str, record: Record | None, found: Sequence[NodeRun]) -> Failure | None:
    """Why a node failed; None if it did not."""
    unfinished = [launch for launch in found if launch.state not in _SUCCEEDED]
    if record is not None and record.failure is not None:
        return record.failure
    is_done = record is None or record.is_done
    if is_done and not unfinished:
        return None
    span = unfinished[0].span if unfinished else None
    return killed(name if span is None else f"{name}, span {span}")
