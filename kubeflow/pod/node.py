"""One node of the chain in a pod: launched by the code that a local run launches it with.

A retried pod goes on where the one before it ended: what had succeeded stays, and what had not is
removed and tried again under the same execution.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ordain.errors import ConfigError, InfrastructureError
from ordain.history.results import Failure, NodeResult
from ordain.history.runs import History, Output
from ordain.kubeflow.pipeline_root import kept_log, shared
from ordain.kubeflow.pod.result_builder import tally_before
from ordain.kubeflow.pod.run_plan import Chain
from ordain.kubeflow.pod.task_records import recorded
from ordain.pipeline.preload import loading_tfx, project_on_path
from ordain.runner.node_log import copied_log
from ordain.runner.pod_lock import beside_pods
from ordain.runner.run import quiet_libraries
from ordain.verdict import Verdict


@dataclass(frozen=True)
class Done:
    """What a node's task came to.

    Attributes:
        result: What became of the node.
        outputs: What it left.
        verdict: Its answer, if it is a gate.
        failure: The error, if it failed.
    """

    result: NodeResult
    outputs: tuple[Output, ...] = ()
    verdict: Verdict | None = None
    failure: Failure | None = None


def run_node(chain: Chain, name: str, say: Callable[[str], None]) -> Done:
    """Launches one node, for each of its spans.

    Args:
        chain: The run's chain.
        name: The node's id.
        say: Is told what happens, a line each.

    Raises:
        ConfigError: There is no such node, or a variable of the configuration is not set.
        InfrastructureError: The volume cannot be locked, or the database not be reached.
    """
    quiet_libraries()
    project = chain.load_project()
    with loading_tfx():
        from ordain.runner import node_launcher  # noqa: PLC0415  three seconds
    ir = chain.parse_ir()
    nodes = {node.pipeline_node.node_info.id: node.pipeline_node for node in ir.nodes}
    if name not in nodes:
        raise ConfigError(f"--node {name}: the chain's nodes are {', '.join(nodes)}")
    history = History(project.metadata, project.name, project.paths)
    folder = project.runs / chain.run_id

    def started(node: str, span: int | None) -> None:
        say(f"{node} begins" if span is None else f"{node} begins span {span}")

    with contextlib.ExitStack() as stack:
        stack.enter_context(shared(project.workspace))
        record = stack.enter_context(recorded(folder, name))
        stack.enter_context(project_on_path(project.folder))
        locks = stack.enter_context(beside_pods(project, chain.run_id, say))
        stack.enter_context(locks.hold(project.name, chain.run_id, name, say))
        stack.enter_context(kept_log(folder / "logs" / f"{name}.log", say))
        stack.enter_context(node_launcher.prepared(project, chain.run_id, history, is_retried=True))
        launcher = node_launcher.NodeLauncher(
            project,
            ir,
            chain.spans,
            history,
            folder / "logs",
            started,
            is_retried=True,
            open_log=copied_log,
        )
        tally = tally_before(chain, project, history, name)
        try:
            with ended_by_sigterm():
                left = launcher.launch(nodes[name])
        except node_launcher.NodeError as stop:
            record.fail(stop.failure, stop.result)
            return Done(stop.result, failure=stop.failure)
        known = len(tally.verdicts)
        result = tally.add(left)
        return Done(result, left.outputs, next(iter(tally.verdicts[known:]), None))


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM fail the node, which TFX then publishes: a retry takes it up."""

    def end(*_: Any) -> None:
        # Once: the next one would interrupt what is being put in order.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise InfrastructureError(
            "the pod was told to end (SIGTERM)", "a retry begins this node anew"
        )

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
