"""A run in pods, tallied from ML Metadata: no task saw more than its own node."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Sequence

from kubeflow.chain import Chain
from kubeflow.prepare import recovered_of
from pipeline.config import Project
from pipeline.history import History, NodeRun
from pipeline.outcome import Failure, NodeResult, RunResult
from pipeline.tally import Launches, Tally

_SUCCEEDED = ("complete", "cached")


def node_names(chain: Chain) -> list[str]:
    """The chain's nodes, in its order."""
    return [node["pipeline_node"]["node_info"]["id"] for node in chain.ir["nodes"]]


def tally_before(chain: Chain, project: Project, history: History, node: str) -> Tally:
    """What the nodes before one of the chain came to."""
    names = node_names(chain)
    return _tally(chain, project, history, names[: names.index(node)])[0]


def tally_run(chain: Chain, project: Project, history: History) -> RunResult:
    """The result of a run whose nodes have all had their turn.

    Args:
        chain: The run's chain.
        project: The project.
        history: Its past runs.
    """
    tally, failure = _tally(chain, project, history, node_names(chain))
    return conclude(chain, project, history, tally, failure)


def conclude(
    chain: Chain, project: Project, history: History, tally: Tally, failure: Failure | None
) -> RunResult:
    """The result of a run as its tally has it."""
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
    logs = project.runs / chain.run_id / "logs"
    failure = None
    for name in names:
        found = sorted(launches[name], key=lambda launch: launch.span or 0)
        log = logs / f"{name}.log"
        unfinished = [launch for launch in found if launch.state not in _SUCCEEDED]
        if unfinished:
            failure = failure or _failure(unfinished[0])
            ids = tuple(launch.execution_id for launch in found)
            tally.add_failed(NodeResult(name, "failed", reason=failure.message, execution_ids=ids))
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
    return tally, failure


def _failure(launch: NodeRun) -> Failure:
    at = f", span {launch.span}" if launch.span is not None else ""
    return Failure(
        node=f"{launch.node}{at}",
        message=f"its execution {launch.execution_id} is {launch.state}",
        hint="read the task's log in Kubeflow",
        exit_code=1,
    )
