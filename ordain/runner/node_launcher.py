"""Launches a node through TFX's launcher, for both drivers.

`ordain.runner.local` launches the nodes of a run one after the other in this process, and
`kubeflow/pod/node.py` each in a pod of its own. A node is launched once for each of its spans, and
the result is read back from ML Metadata: TFX's launcher returns normally even if a node's inputs
were not resolved, and does not report what was cached or skipped.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import Any

from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher
from tfx.orchestration.portable.input_resolution import channel_resolver
from tfx.orchestration.portable.mlmd import context_lib, execution_lib

from ordain.common.digests import size_of
from ordain.components.artifacts import pushed_model, served_model
from ordain.config.model import NoBaseline
from ordain.config.project import Project
from ordain.errors import NodeFailedError
from ordain.history import recovery, resource_usage
from ordain.history.result_builder import Launches, cost_fields, count_rows
from ordain.history.results import Failure, NodeResult
from ordain.history.runs import History, Output, state_of
from ordain.metadata.store import tfx_handle
from ordain.pipeline import span_binding
from ordain.pipeline.own_nodes import VERDICT_TYPE
from ordain.runner import lazy_executors, partial_run
from ordain.runner.node_errors import as_known_error
from ordain.runner.node_log import node_log
from ordain.upstream import tfx_cache, tfx_queries, tfx_store

SUCCEEDED = ("complete", "cached")


class NodeError(Exception):
    """A node failed.

    Attributes:
        result: Its result, in state `failed`.
        failure: The error, as it stands in the run's result.
    """

    def __init__(self, result: NodeResult, failure: Failure) -> None:
        super().__init__(failure.message)
        self.result = result
        self.failure = failure


@contextlib.contextmanager
def prepared(
    project: Project, run_id: str, history: History, is_exact: bool = True, is_retried: bool = False
) -> Iterator[None]:
    """Sets what TFX, the resolvers and the publisher need while nodes of a run are launched.

    Args:
        project: The project.
        run_id: The run.
        history: The project's past runs.
        is_exact: Whether `ordain.upstream.tfx_queries` replaces TFX's queries of ML Metadata.
        is_retried: Whether a node may have been attempted before in this run.
    """
    with contextlib.ExitStack() as stack:
        if project.metadata.exists() and not project.is_pushed_away:
            version = recovery.unrecorded_version(history, project.serving)
            stack.enter_context(pushed_model.unrecorded(version))
        stack.enter_context(served_model.looking_back(_published_versions(project)))
        stack.enter_context(tfx_cache.portable_keys(project.paths))
        if is_exact:
            stack.enter_context(tfx_queries.exact_queries(run_id, str(project.artifacts)))
        if is_retried:
            stack.enter_context(tfx_store.registering_once())
        yield


def _published_versions(project: Project) -> served_model.LookingBack:
    chosen = project.evaluate.baseline
    rule, none = ("stable", chosen.none) if isinstance(chosen, NoBaseline) else (chosen, "")
    return served_model.LookingBack(project.push_base, rule, none, project.trust)


def is_verdict(key: str, spec: Any) -> bool:
    """True for an input that only the node's condition reads: the verdict of a gate before it."""
    kinds = {channel.artifact_query.type.name for channel in spec.channels}
    return tfx_cache.is_condition(key) and kinds == {VERDICT_TYPE}


class NodeLauncher:
    """Launches nodes of one run."""

    def __init__(
        self,
        project: Project,
        ir: Any,
        spans: Sequence[int],
        history: History,
        logs: Path,
        started: Callable[[str, int | None], None],
        is_retried: bool = False,
        open_log: Callable[[Path], AbstractContextManager[None]] = node_log,
    ) -> None:
        """Takes the run; nothing is opened yet.

        Args:
            project: The project.
            ir: The pipeline's IR, bound to the run (`ordain.pipeline.span_binding.bind_run`).
            spans: The window's spans, oldest first.
            history: The project's past runs.
            logs: The folder of the nodes' logs.
            started: Called before each launch with the node and its span, if it has one.
            is_retried: Whether a node may have been attempted before in this run. Executions that
                succeeded are kept; outputs of others are removed before the next attempt.
            open_log: Makes the context in which a node is launched, from its log's path.
        """
        self._project = project
        self._ir = ir
        self._run_id = ir.runtime_spec.pipeline_run_id.field_value.string_value
        self._spans = spans
        self._history = history
        self._logs = logs
        self._started = started
        self._reused: dict[partial_run.Launch, partial_run.Reused] = {}
        self._is_retried = is_retried
        self._open_log = open_log
        with open_log(logs / "graph.log"):  # TFX warns that the IR names no database
            self._deployment = runner_utils.extract_local_deployment_config(ir)
        self._handle = tfx_handle(project.metadata, project.paths)

    def reuse(self, nodes: Sequence[Any], before: str) -> None:
        """Makes `launch` reuse results of past runs for the first nodes of the pipeline.

        Args:
            nodes: Their `PipelineNode`s, in pipeline order.
            before: The node that comes after them.

        Raises:
            ConfigError: There are no consistent results (`ordain.runner.partial_run`).
        """
        launches = (launch for node in nodes for launch in self.bound(node))
        self._reused = partial_run.find(self._handle, launches, before)

    def launch(self, node: Any) -> Launches:
        """Launches a node, once for each of its spans.

        Args:
            node: Its `PipelineNode` in the IR.

        Returns:
            The states and outputs of its launches.

        Raises:
            NodeError: One of them failed.
        """
        name = node.node_info.id
        states: list[str] = []
        ids: list[int] = []
        outputs: list[Output] = []
        fresh: list[Output] = []
        began = time.monotonic()
        log = self._logs / f"{name}.log"
        with resource_usage.Meter(
            self._logs.parent / resource_usage.RECORDS / f"{name}.json"
        ) as meter:
            for span, bound in self.bound(node):
                self._started(name, span)
                try:
                    with self._open_log(log):
                        state, launched = self._launch(bound, span)
                        made = [*chain(*self._history.outputs_of(launched).values())]
                except Exception as error:
                    seconds = time.monotonic() - began
                    cost = meter.cost(self._bytes_of(name, fresh))
                    raise self._failed(name, span, error, log, seconds, ids, cost) from error
                states.append(state)
                ids += launched
                outputs += made
                fresh += made if state == "complete" else []
        seconds = time.monotonic() - began
        cost = meter.cost(self._bytes_of(name, fresh), count_rows(fresh))
        return Launches(name, tuple(states), tuple(ids), tuple(outputs), seconds, log, cost)

    def _bytes_of(self, name: str, outputs: Sequence[Output]) -> int:
        """Size of a node's own outputs; those of a resolver are in folders of other nodes."""
        own = self._project.artifacts / name
        folders = {Path(output.uri) for output in outputs}
        return sum(size_of(folder) for folder in folders if folder.is_relative_to(own))

    def bound(self, node: Any) -> Iterator[tuple[int | None, Any]]:
        """Yields a node's launches: the span, and the node bound to it."""
        if node.node_info.id not in span_binding.PER_SPAN:
            yield None, node
            return
        has_spans = self._project.data.has_spans
        for span in self._spans:
            yield span, span_binding.bind_span(node, self._project.name, span, has_spans)

    def _launch(self, node: Any, span: int | None) -> tuple[str, list[int]]:
        """Launches a node once; returns its state and execution, read from ML Metadata."""
        name = node.node_info.id
        if (name, span) in self._reused:
            return "reused", [partial_run.publish(self._handle, node, self._reused[name, span])]
        if self._is_retried:
            before = self._before(node)
            if before is not None:
                return before
        if self._has_skipped_gate(node):
            return "skipped", []
        info = launcher.Launcher(
            pipeline_node=node,
            mlmd_connection=self._handle,
            pipeline_info=self._ir.pipeline_info,
            pipeline_runtime_spec=self._ir.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(self._deployment, name),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(self._deployment, name),
            custom_executor_operators=lazy_executors.OPERATORS,
        ).launch()
        execution_id = info.execution_id if info is not None else None
        if not execution_id:
            return "skipped", []
        (execution,) = self._history.store.get_executions_by_id([execution_id])
        state = state_of(execution)
        if state not in SUCCEEDED:
            known = served_model.resolver_error()
            if known is not None:
                raise known
            raise NodeFailedError(f"{name} ended in state {state}: its inputs were not resolved")
        return state, [execution_id]

    def _has_skipped_gate(self, node: Any) -> bool:
        """True if one of several gates before a node was skipped because another one had blocked.

        TFX fails a node if any of its conditions has no verdict to read.
        """
        gates = [spec for key, spec in node.inputs.inputs.items() if is_verdict(key, spec)]
        if len(gates) < 2:
            return False
        with self._handle as handle:
            return not all(
                channel_resolver.resolve_union_channels(handle, spec.channels) for spec in gates
            )

    def _before(self, node: Any) -> tuple[str, list[int]] | None:
        """Result of an earlier attempt, if it succeeded; removes the output of failed attempts."""
        with self._handle as handle:
            contexts = context_lib.prepare_contexts(handle, node.contexts)
            found = execution_lib.get_executions_associated_with_all_contexts(handle, contexts)
        for execution in found:
            state = state_of(execution)
            if state in SUCCEEDED:
                return state, [execution.id]
            recovery.remove_leftovers(
                self._history.store,
                self._project.workspace,
                self._project.name,
                node.node_info.id,
                execution.id,
                is_alone=False,
            )
        return None

    def _failed(
        self,
        name: str,
        span: int | None,
        error: Exception,
        log: Path,
        seconds: float,
        ids: list[int],
        cost: resource_usage.Cost,
    ) -> NodeError:
        # On a full disk the log cannot be written either; the headline still has the cause.
        with contextlib.suppress(OSError), self._open_log(log):
            logging.getLogger("ordain").error("%s failed", name, exc_info=error)
        known = as_known_error(error)
        at = f", span {span}" if span is not None else ""
        failure = Failure(
            node=f"{name}{at}",
            message=known.message,
            hint=known.hint or f"read {log}",
            exit_code=int(known.exit_code),
        )
        result = NodeResult(
            node=name,
            state="failed",
            seconds=round(seconds, 3),
            reason=known.message,
            log=str(log),
            execution_ids=tuple(ids),
            **cost_fields(cost, seconds),
        )
        return NodeError(result, failure)
