"""Runs one node in a pod with the node launcher of local runs.

A retried pod continues after the previous one: succeeded work stays, unfinished work is removed
and repeated under the same execution.
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
from ordain.kubeflow.pipeline_root import shared, shared_log
from ordain.kubeflow.pod.result_builder import results_before
from ordain.kubeflow.pod.run_plan import PreparedRun
from ordain.kubeflow.pod.task_records import recorded
from ordain.project.imports import project_on_path
from ordain.runner.node_log import copied_log
from ordain.runner.pod_lock import beside_pods
from ordain.runner.run import quiet_libraries
from ordain.upstream.tfx_imports import loading_tfx
from ordain.verdict import Verdict


@dataclass(frozen=True)
class Done:
    """The outcome of a node's task.

    Attributes:
        result: The node's result.
        outputs: Its output artifacts.
        verdict: Its verdict, if it is a gate.
        failure: The error, if it failed.
    """

    result: NodeResult
    outputs: tuple[Output, ...] = ()
    verdict: Verdict | None = None
    failure: Failure | None = None


def run_node(prepared: PreparedRun, name: str, say: Callable[[str], None]) -> Done:
    """Launches one node, for each of its spans.

    Args:
        prepared: The prepared run.
        name: The node's id.
        say: Receives log lines.

    Raises:
        ConfigError: There is no such node, or a variable of the configuration is not set.
        InfrastructureError: The volume cannot be locked or the database cannot be reached.
    """
    quiet_libraries()
    project = prepared.load_project()
    with loading_tfx():
        from ordain.runner import node_launcher  # noqa: PLC0415  three seconds
    ir = prepared.parse_ir()
    nodes = {node.pipeline_node.node_info.id: node.pipeline_node for node in ir.nodes}
    if name not in nodes:
        raise ConfigError(f"--node {name}: the pipeline's nodes are {', '.join(nodes)}")
    history = History(project.metadata, project.name, project.paths)
    folder = project.runs / prepared.run_id

    def started(node: str, span: int | None) -> None:
        say(f"{node} started" if span is None else f"{node} started on span {span}")

    with contextlib.ExitStack() as stack:
        stack.enter_context(shared(project.workspace))
        record = stack.enter_context(recorded(folder, name))
        stack.enter_context(project_on_path(project.folder))
        locks = stack.enter_context(beside_pods(project, prepared.run_id, say))
        stack.enter_context(locks.hold(project.name, prepared.run_id, name, say))
        stack.enter_context(shared_log(folder / "logs" / f"{name}.log", say))
        stack.enter_context(
            node_launcher.prepared(project, prepared.run_id, history, is_retried=True)
        )
        launcher = node_launcher.NodeLauncher(
            project,
            ir,
            prepared.spans,
            history,
            folder / "logs",
            started,
            is_retried=True,
            open_log=copied_log,
        )
        builder = results_before(prepared, project, history, name)
        try:
            with ended_by_sigterm():
                left = launcher.launch(nodes[name])
        except node_launcher.NodeError as stop:
            record.fail(stop.failure, stop.result)
            return Done(stop.result, failure=stop.failure)
        known = len(builder.verdicts)
        result = builder.add(left)
        return Done(result, left.outputs, next(iter(builder.verdicts[known:]), None))


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Turns SIGTERM into a failure of the node, which TFX publishes and a retry repeats."""

    def end(*_: Any) -> None:
        # Only once: a second signal would interrupt the cleanup.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise InfrastructureError("the pod received SIGTERM", "a retry starts this node again")

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
