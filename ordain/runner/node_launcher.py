"""One node of the chain through TFX's own launcher: what both drivers share.

`ordain.runner.local` launches the nodes of a run one after the other in this process, and
`kubeflow/pod/node.py` each in a pod of its own. Here a node is launched once for each of its spans,
and what came of it is read back from ML Metadata: TFX's launcher returns normally although a
node's inputs were not resolved, and tells nobody what was cached or skipped.

TFX's private API is used here, in the modules imported here, and in
`ordain.metadata.exact_queries`.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import execution_publish_utils, launcher
from tfx.orchestration.portable.input_resolution import channel_resolver
from tfx.orchestration.portable.mlmd import context_lib, execution_lib

from ordain.components.artifacts import pushed_model, served_model
from ordain.config.model import NoBaseline
from ordain.config.project import Project
from ordain.errors import NodeFailedError
from ordain.history import recovery, resource_usage
from ordain.history.result_builder import Launches, cost_fields, count_rows
from ordain.history.results import Failure, NodeResult
from ordain.history.runs import History, Output, state_of
from ordain.metadata import exact_queries
from ordain.metadata import tfx_handle as metadata_handle
from ordain.pipeline import span_binding
from ordain.pipeline.own_nodes import VERDICT_TYPE
from ordain.runner import lazy_executors, partial_run
from ordain.runner.node_errors import as_known_error
from ordain.runner.node_log import node_log

SUCCEEDED = ("complete", "cached")


class NodeError(Exception):
    """A node failed.

    Attributes:
        result: What became of it, `failed`.
        failure: The error, as the run's result has it.
    """

    def __init__(self, result: NodeResult, failure: Failure) -> None:
        super().__init__(failure.message)
        self.result = result
        self.failure = failure


@contextlib.contextmanager
def prepared(
    project: Project, run_id: str, history: History, is_exact: bool = True, is_retried: bool = False
) -> Iterator[None]:
    """Sets the context of TFX and the publisher while nodes of a run are launched.

    Args:
        project: The project.
        run_id: The run.
        history: The project's past runs.
        is_exact: Whether TFX's questions to ML Metadata are answered by
            `ordain.metadata.exact_queries`.
        is_retried: Whether a node may have been tried before in this run.
    """
    with contextlib.ExitStack() as stack:
        if project.metadata.exists() and not project.is_pushed_away:
            version = recovery.unrecorded_version(history, project.serving)
            stack.enter_context(pushed_model.unrecorded(version))
        stack.enter_context(served_model.looking_back(_looking_back(project)))
        stack.enter_context(exact_queries.portable_keys(project.paths))
        if is_exact:
            root = str(project.artifacts)
            stack.enter_context(exact_queries.exact_queries(run_id, root))
        if is_retried:
            stack.enter_context(
                exact_queries.replaced(
                    execution_publish_utils,
                    "register_execution",
                    _register_once(execution_publish_utils.register_execution),
                )
            )
        yield


def _looking_back(project: Project) -> served_model.LookingBack:
    chosen = project.evaluate.baseline
    rule, none = ("stable", chosen.none) if isinstance(chosen, NoBaseline) else (chosen, "")
    return served_model.LookingBack(project.push_base, rule, none, project.trust)


def _register_once(original: Callable[..., Any]) -> Callable[..., Any]:
    """Hands out what an earlier try of a node registered.

    TFX's launcher does so itself; its handler of resolvers makes one execution for each try.
    """

    def register(
        metadata_handle: Any, execution_type: Any, contexts: Any, *args: Any, **rest: Any
    ) -> Any:
        before = execution_lib.get_executions_associated_with_all_contexts(
            metadata_handle, contexts
        )
        if before:
            return before[-1]
        return original(metadata_handle, execution_type, contexts, *args, **rest)

    return register


def is_verdict(key: str, spec: Any) -> bool:
    """True for a node's input that its condition reads: the verdict of a gate before it."""
    kinds = {channel.artifact_query.type.name for channel in spec.channels}
    return exact_queries.is_condition(key) and kinds == {VERDICT_TYPE}


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
            ir: The chain's IR, bound to the run (`street.bind_run`).
            spans: The window's spans, oldest first.
            history: The project's past runs.
            logs: The folder for a log of each node.
            started: Is told of each launch, the span with it where there is one.
            is_retried: Whether a node may have been tried before in this run; what had ended then
                stays, and what had not is removed before it is tried again.
            open_log: Takes a log's path; what it gives is entered while a node is launched.
        """
        self._project = project
        self._ir = ir
        self._run_id = ir.runtime_spec.pipeline_run_id.field_value.string_value
        self._spans = spans
        self._history = history
        self._logs = logs
        self._started = started
        self._reused: dict[partial_run.Launch, partial_run.Taken] = {}
        self._is_retried = is_retried
        self._open_log = open_log
        with open_log(logs / "graph.log"):  # TFX warns that the IR names no database
            self._deployment = runner_utils.extract_local_deployment_config(ir)
        self._handle = metadata_handle.Handle(project.metadata, project.paths)

    def take_over(self, nodes: Sequence[Any], before: str) -> None:
        """Makes `launch` take nodes over from past runs instead.

        Args:
            nodes: The `PipelineNode`s, the chain's first ones, in its order.
            before: The node that comes after them.

        Raises:
            ConfigError: There is nothing that belongs together (`ordain.runner.partial_run`).
        """
        launches = (launch for node in nodes for launch in self.bound(node))
        self._reused = partial_run.find(self._handle, launches, before)

    def launch(self, node: Any) -> Launches:
        """Launches a node, once for each of its spans.

        Args:
            node: Its `PipelineNode` in the IR.

        Returns:
            What the launches left.

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
                        state, execution_id = self._launch(bound, span)
                        left = self._outputs_of(execution_id)
                except Exception as error:
                    seconds = time.monotonic() - began
                    cost = meter.cost(self._bytes_of(name, fresh))
                    raise self._failed(name, span, error, log, seconds, ids, cost) from error
                states.append(state)
                ids += [execution_id] if execution_id is not None else []
                outputs += left
                fresh += left if state == "complete" else []
        seconds = time.monotonic() - began
        cost = meter.cost(self._bytes_of(name, fresh), count_rows(fresh))
        return Launches(name, tuple(states), tuple(ids), tuple(outputs), seconds, log, cost)

    def _bytes_of(self, name: str, outputs: Sequence[Output]) -> int:
        """Size of what a node wrote: a resolver hands on what lies in other nodes' folders."""
        own = self._project.artifacts / name
        folders = {Path(output.uri) for output in outputs}
        return sum(
            resource_usage.size_of(folder) for folder in folders if folder.is_relative_to(own)
        )

    def bound(self, node: Any) -> Iterator[tuple[int | None, Any]]:
        """A node's launches: the span, and the node bound to it."""
        if node.node_info.id not in span_binding.PER_SPAN:
            yield None, node
            return
        has_spans = self._project.data.has_spans
        for span in self._spans:
            yield span, span_binding.bind_span(node, self._project.name, span, has_spans)

    def _launch(self, node: Any, span: int | None) -> tuple[str, int | None]:
        """Launches a node once; returns its state, read back from ML Metadata."""
        name = node.node_info.id
        if (name, span) in self._reused:
            return "reused", partial_run.publish(self._handle, node, self._reused[name, span])
        if self._is_retried:
            before = self._before(node)
            if before is not None:
                return before
        if self._has_skipped_gate(node):
            return "skipped", None
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
            return "skipped", None
        (execution,) = self._history.store.get_executions_by_id([execution_id])
        state = state_of(execution)
        if state not in SUCCEEDED:
            known = served_model.resolver_error()
            if known is not None:
                raise known
            raise NodeFailedError(f"{name} ended in state {state}: its inputs were not resolved")
        return state, execution_id

    def _has_skipped_gate(self, node: Any) -> bool:
        """True if one of several gates before a node was skipped, for another one had blocked.

        TFX fails a node one of whose conditions has nothing to read, whatever the others say.
        """
        gates = [spec for key, spec in node.inputs.inputs.items() if is_verdict(key, spec)]
        if len(gates) < 2:
            return False
        with self._handle as handle:
            return not all(
                channel_resolver.resolve_union_channels(handle, spec.channels) for spec in gates
            )

    def _before(self, node: Any) -> tuple[str, int] | None:
        """Result of an earlier attempt, if it succeeded; removes the output of failed attempts."""
        with self._handle as handle:
            contexts = context_lib.prepare_contexts(handle, node.contexts)
            found = execution_lib.get_executions_associated_with_all_contexts(handle, contexts)
        for execution in found:
            state = state_of(execution)
            if state in SUCCEEDED:
                return state, execution.id
            recovery.remove_leftovers(
                self._history.store,
                self._project.workspace,
                self._project.name,
                node.node_info.id,
                execution.id,
                is_alone=False,
            )
        return None

    def _outputs_of(self, execution_id: int | None) -> list[Output]:
        if execution_id is None:
            return []
        return self._history.outputs_of([execution_id]).get(execution_id, [])

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
        # A disk that is full cannot take the log either; the headline still says what happened.
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
