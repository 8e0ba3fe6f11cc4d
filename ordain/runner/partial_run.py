"""Partial runs: `--from NODE` reuses past results of the nodes before NODE.

Reused results are consistent. From the first node on, each node's newest success is reused whose
inputs are the artifacts that are reused of the nodes before it; otherwise a newer model would stand
beside the blessing of an older one. Artifacts are compared, not executions: runs in which a node is
cached share its outputs.

A resolver (Baseline, AnalyzerCache, ...) has no inputs in ML Metadata. Its reused output is the
input of the node behind it; if no such node is reused, it resolves again.

TFX's own partial runs leave out our `span` contexts, without which the artifacts of different spans
cannot be distinguished, so the executions are published here. They have TFX's form: a CACHED
execution with the old inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.dsl.components.common import resolver
from tfx.orchestration.portable import execution_publish_utils
from tfx.orchestration.portable.mlmd import context_lib, execution_lib

from ordain.errors import ConfigError
from ordain.pipeline.own_nodes import SOURCE_PROPERTY
from ordain.pipeline.span_binding import SPAN_CONTEXT_TYPE
from ordain.storage import artifact_store
from ordain.upstream.tfx_cache import is_condition, newest_executions

#: A launch: the node's id, and its span where it has one.
Launch = tuple[str, int | None]
_Artifacts = Mapping[str, Sequence[Any]]
_RUN_ALL = "run the whole pipeline: ordain run PROJECT"


@dataclass(frozen=True)
class Reused:
    """Artifacts of one launch that are reused.

    Attributes:
        inputs: Artifacts by input key.
        outputs: Artifacts by output key.
        run_id: The newest run that had them.
    """

    inputs: _Artifacts
    outputs: _Artifacts
    run_id: str


def find(
    handle: Any, launches: Iterable[tuple[int | None, Any]], before: str
) -> dict[Launch, Reused]:
    """Finds the results that `--from` reuses; nothing is written.

    Args:
        handle: TFX's metadata handle.
        launches: The span and the bound `PipelineNode` of each launch before the node to start
            at, in pipeline order.
        before: The node to start at, for messages.

    Returns:
        The reused artifacts of each launch, without resolvers that only later nodes read.

    Raises:
        ConfigError: A node never succeeded on the reused outputs of the nodes before it, or its
            output was removed.
    """
    with handle as opened:
        search = _Search(opened, f"--from {before}")
        for span, node in launches:
            search.add(span, node)
        for (name, _), reused in search.found.items():
            _check_exists(name, reused.outputs, f"--from {before}")
        return search.found


def publish(handle: Any, node: Any, reused: Reused) -> int:
    """Publishes the reused artifacts of a launch in a new run.

    Args:
        handle: TFX's metadata handle.
        node: The `PipelineNode`, bound to the run and its span.
        reused: Its result of `find`.

    Returns:
        The id of the new, cached execution.
    """
    with handle as opened:
        contexts = context_lib.prepare_contexts(opened, node.contexts)
        # By it a node of the project's own is known to `ordain.retraining.past_runs`.
        source = node.parameters.parameters[SOURCE_PROPERTY].field_value.string_value
        execution = execution_publish_utils.register_execution(
            metadata_handle=opened,
            execution_type=node.node_info.type,
            contexts=contexts,
            input_artifacts=reused.inputs,
            exec_properties={SOURCE_PROPERTY: source} if source else None,
        )
        execution_publish_utils.publish_cached_executions(
            opened,
            contexts=contexts,
            executions=[execution],
            output_artifacts_maps=[reused.outputs],
        )
        return int(execution.id)


class _Search:
    """Reused results, found launch by launch in pipeline order."""

    def __init__(self, handle: Any, flag: str) -> None:
        self._handle = handle
        self._flag = flag
        self._resolvers: set[str] = set()
        self.found: dict[Launch, Reused] = {}

    def add(self, span: int | None, node: Any) -> None:
        """Finds the reused result of one launch."""
        name = node.node_info.id
        if node.node_info.type.name == resolver.Resolver.get_class_type():
            self._resolvers.add(name)
            return
        newest = None
        for execution in _successes(self._handle.store, node):
            inputs = {
                key: artifacts
                for key, artifacts in execution_lib.get_input_artifacts(
                    self._handle, execution.id
                ).items()
                if not is_condition(key)
            }
            newest = newest or (execution, inputs)
            if not self._others(span, node, inputs):
                self._reuse(span, node, execution, inputs)
                return
        if newest is None:
            raise ConfigError(
                f"{self._flag}: {name}{_at(span)} has not succeeded before, so there is nothing to "
                "reuse",
                _RUN_ALL,
            )
        others = sorted(self._others(span, node, newest[1]))
        runs = sorted({t.run_id for (who, _), t in self.found.items() if who in others})
        raise ConfigError(
            f"{self._flag}: {name}{_at(span)} has not run on the last output of "
            f"{', '.join(others)} (run {', '.join(runs)})",
            f"ordain run PROJECT --from {name}",
        )

    def _others(self, span: int | None, node: Any, inputs: _Artifacts) -> set[str]:
        """Nodes whose reused outputs are not the inputs of an execution."""
        others = set()
        for key, producer, output in _channels(node):
            wanted = self._outputs(producer, output, span)
            if wanted is not None and _ids(inputs.get(key, ())) != wanted:
                others.add(producer)
        return others

    def _outputs(self, producer: str, output: str, span: int | None) -> list[int] | None:
        """Ids of the reused artifacts of an output; None for a resolver that is not decided yet."""
        by_span = {s: reused for (who, s), reused in self.found.items() if who == producer}
        if not by_span and producer in self._resolvers:
            return None
        chosen = [by_span[span]] if span in by_span else list(by_span.values())
        return sorted(i for reused in chosen for i in _ids(reused.outputs.get(output, ())))

    def _reuse(self, span: int | None, node: Any, execution: Any, inputs: _Artifacts) -> None:
        run_id = _run_of(self._handle.store, execution)
        for key, producer, output in _channels(node):
            if producer in self._resolvers:
                given = {output: list(inputs.get(key, ()))} if inputs.get(key) else {}
                self.found.setdefault((producer, None), Reused({}, given, run_id))
        outputs = execution_lib.get_output_artifacts(self._handle, execution.id)
        self.found[node.node_info.id, span] = Reused(inputs, outputs, run_id)


def _channels(node: Any) -> Iterator[tuple[str, str, str]]:
    """Yields input key, producing node and its output key of each input from another node."""
    for key, spec in node.inputs.inputs.items():
        for channel in spec.channels:
            if not is_condition(key) and channel.producer_node_query.id:
                yield key, channel.producer_node_query.id, channel.output_key


def _successes(store: Any, node: Any) -> Iterator[Any]:
    """Yields a launch's successful executions over all runs, newest first."""
    names = {c.type.name: c.name.field_value.string_value for c in node.contexts.contexts}
    kind = SPAN_CONTEXT_TYPE if SPAN_CONTEXT_TYPE in names else "node"
    context = store.get_context_by_type_and_name(kind, names[kind])
    if context is None:
        return
    for execution in newest_executions(store, context.id):
        # Three nodes share the context of a span, and an own node's id may have stood for another
        # component.
        is_of_node = execution.type == node.node_info.type.name
        if is_of_node and execution_lib.is_execution_successful(execution):
            yield execution


def _run_of(store: Any, execution: Any) -> str:
    contexts = store.get_contexts_by_execution(execution.id)
    return next((str(c.name) for c in contexts if c.type == "pipeline_run"), "")


def _check_exists(name: str, outputs: _Artifacts, flag: str) -> None:
    kept = [artifact for artifacts in outputs.values() for artifact in artifacts]
    if any(artifact.mlmd_artifact.state != pb.Artifact.LIVE for artifact in kept):
        raise ConfigError(f"{flag}: the last output of {name} was removed by ordain gc", _RUN_ALL)
    gone = [artifact.uri for artifact in kept if not artifact_store.current().has(artifact.uri)]
    if gone:
        raise ConfigError(
            f"{flag}: the last output of {name} is not in the workspace: {gone[0]} does not exist",
            _RUN_ALL,
        )


def _ids(artifacts: Iterable[Any]) -> list[int]:
    return sorted(int(artifact.id) for artifact in artifacts)


def _at(span: int | None) -> str:
    return f", span {span}," if span is not None else ""
