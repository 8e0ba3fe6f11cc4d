"""`--from NODE`: the nodes before it are taken over from past runs, as TFX's partial runs do.

What is taken over belongs together. From the first node on, each node's newest success is taken
whose inputs are the very artifacts that are taken over of the nodes before it; otherwise a newer
model would stand beside the blessing of an older one. Artifacts are compared, not executions:
runs in which a node is cached share what it left.

A resolver (Baseline, AnalyzerCache, ...) has no inputs in ML Metadata. Of it is taken over what
the node behind it was given; with no such node among those that are taken over, it looks anew.

TFX's own recycler leaves out our `span` contexts, without which the spans' artifacts cannot be
told apart, so the executions are published here; the form (a CACHED execution with the old
inputs and outputs) is TFX's.
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
from ordain.metadata.exact_queries import is_condition, newest_executions
from ordain.pipeline.span_binding import SPAN_CONTEXT_TYPE
from ordain.storage import artifact_store

#: A launch: the node's id, and its span where it has one.
Launch = tuple[str, int | None]
_Artifacts = Mapping[str, Sequence[Any]]
_WHOLE_CHAIN = "run the whole chain: ordain run PROJECT"


@dataclass(frozen=True)
class Taken:
    """Artifacts of one launch that are taken over.

    Attributes:
        inputs: Artifacts by input key.
        outputs: Artifacts by output key.
        run_id: The run that had them last.
    """

    inputs: _Artifacts
    outputs: _Artifacts
    run_id: str


def find(
    handle: Any, launches: Iterable[tuple[int | None, Any]], before: str
) -> dict[Launch, Taken]:
    """Finds what `--from` takes over; nothing is written.

    Args:
        handle: TFX's metadata handle.
        launches: The span and the bound `PipelineNode` of each launch before the node to start
            at, in the chain's order.
        before: The node to start at, for messages.

    Returns:
        What is taken over of each launch. Resolvers that only the rest of the chain asks are not
        among them.

    Raises:
        ConfigError: A node never succeeded, or not on what is taken over of the nodes before it,
            or what it left was removed.
    """
    with handle as opened:
        search = _Search(opened, f"--from {before}")
        for span, node in launches:
            search.add(span, node)
        for (name, _), taken in search.found.items():
            _check_there(name, taken.outputs, f"--from {before}")
        return search.found


def publish(handle: Any, node: Any, taken: Taken) -> int:
    """Publishes what is taken over of a launch into a new run.

    Args:
        handle: TFX's metadata handle.
        node: The `PipelineNode`, bound to the run and its span.
        taken: What `find` found for it.

    Returns:
        The id of the new, cached execution.
    """
    with handle as opened:
        contexts = context_lib.prepare_contexts(opened, node.contexts)
        execution = execution_publish_utils.register_execution(
            metadata_handle=opened,
            execution_type=node.node_info.type,
            contexts=contexts,
            input_artifacts=taken.inputs,
        )
        execution_publish_utils.publish_cached_executions(
            opened,
            contexts=contexts,
            executions=[execution],
            output_artifacts_maps=[taken.outputs],
        )
        return int(execution.id)


class _Search:
    """Goes down the chain; `found` grows."""

    def __init__(self, handle: Any, flag: str) -> None:
        self._handle = handle
        self._flag = flag
        self._resolvers: set[str] = set()
        self.found: dict[Launch, Taken] = {}

    def add(self, span: int | None, node: Any) -> None:
        """Finds what is taken over of one launch."""
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
                self._take(span, node, execution, inputs)
                return
        if newest is None:
            raise ConfigError(
                f"{self._flag}: {name}{_at(span)} has not succeeded before, so there is nothing to "
                "take over",
                _WHOLE_CHAIN,
            )
        others = sorted(self._others(span, node, newest[1]))
        runs = sorted({t.run_id for (who, _), t in self.found.items() if who in others})
        raise ConfigError(
            f"{self._flag}: {name}{_at(span)} has not run on what {', '.join(others)} left last "
            f"(run {', '.join(runs)})",
            f"ordain run PROJECT --from {name}",
        )

    def _others(self, span: int | None, node: Any, inputs: _Artifacts) -> set[str]:
        """The nodes of which an execution was given something else than what is taken over."""
        others = set()
        for key, producer, output in _channels(node):
            wanted = self._left(producer, output, span)
            if wanted is not None and _ids(inputs.get(key, ())) != wanted:
                others.add(producer)
        return others

    def _left(self, producer: str, output: str, span: int | None) -> list[int] | None:
        """Ids of what is taken over of an output; None where that is open, of a resolver."""
        of_it = {s: taken for (who, s), taken in self.found.items() if who == producer}
        if not of_it and producer in self._resolvers:
            return None
        chosen = [of_it[span]] if span in of_it else list(of_it.values())
        return sorted(i for taken in chosen for i in _ids(taken.outputs.get(output, ())))

    def _take(self, span: int | None, node: Any, execution: Any, inputs: _Artifacts) -> None:
        run_id = _run_of(self._handle.store, execution)
        for key, producer, output in _channels(node):
            if producer in self._resolvers:
                given = {output: list(inputs.get(key, ()))} if inputs.get(key) else {}
                self.found.setdefault((producer, None), Taken({}, given, run_id))
        outputs = execution_lib.get_output_artifacts(self._handle, execution.id)
        self.found[node.node_info.id, span] = Taken(inputs, outputs, run_id)


def _channels(node: Any) -> Iterator[tuple[str, str, str]]:
    """Input key, producing node and its output key, of each input that another node fills."""
    for key, spec in node.inputs.inputs.items():
        for channel in spec.channels:
            if not is_condition(key) and channel.producer_node_query.id:
                yield key, channel.producer_node_query.id, channel.output_key


def _successes(store: Any, node: Any) -> Iterator[Any]:
    """A launch's successful executions over all runs, newest first."""
    names = {c.type.name: c.name.field_value.string_value for c in node.contexts.contexts}
    kind = SPAN_CONTEXT_TYPE if SPAN_CONTEXT_TYPE in names else "node"
    context = store.get_context_by_type_and_name(kind, names[kind])
    if context is None:
        return
    for execution in newest_executions(store, context.id):
        # Three nodes share the context of a span.
        is_of_node = kind == "node" or execution.type == node.node_info.type.name
        if is_of_node and execution_lib.is_execution_successful(execution):
            yield execution


def _run_of(store: Any, execution: Any) -> str:
    contexts = store.get_contexts_by_execution(execution.id)
    return next((str(c.name) for c in contexts if c.type == "pipeline_run"), "")


def _check_there(name: str, outputs: _Artifacts, flag: str) -> None:
    kept = [artifact for artifacts in outputs.values() for artifact in artifacts]
    if any(artifact.mlmd_artifact.state != pb.Artifact.LIVE for artifact in kept):
        raise ConfigError(f"{flag}: what {name} left last was removed by ordain gc", _WHOLE_CHAIN)
    gone = [artifact.uri for artifact in kept if not artifact_store.has(artifact.uri)]
    if gone:
        raise ConfigError(
            f"{flag}: what {name} left last is not in the workspace: there is no {gone[0]}",
            _WHOLE_CHAIN,
        )


def _ids(artifacts: Iterable[Any]) -> list[int]:
    return sorted(int(artifact.id) for artifact in artifacts)


def _at(span: int | None) -> str:
    return f", span {span}," if span is not None else ""
