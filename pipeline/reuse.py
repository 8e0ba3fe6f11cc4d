"""`--from NODE`: the nodes before it are taken over from the last run, as TFX's partial runs do.

TFX's own recycler leaves out our `span` contexts, without which the spans' artifacts cannot be
told apart, so the executions are published here; the form (a CACHED execution with the old
outputs) is TFX's.
"""

from __future__ import annotations

from typing import Any

from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.orchestration.portable import execution_publish_utils
from tfx.orchestration.portable.mlmd import context_lib, execution_lib

from contracts.errors import ConfigError
from pipeline import shared_files
from pipeline.metadata_queries import newest_executions


def reuse_latest(handle: Any, node: Any, run_id: str) -> int:
    """Publishes a node's latest successful execution into a new run.

    Args:
        handle: TFX's metadata handle.
        node: The bound `PipelineNode` (its contexts tell which span).
        run_id: The new run.

    Returns:
        The id of the new, cached execution.

    Raises:
        ConfigError: The node never succeeded.
    """
    with handle as store:
        contexts = context_lib.prepare_contexts(store, node.contexts)
        others = {c.id for c in contexts if c.name != run_id}
        (of_node,) = (c.id for c in contexts if c.name == _node_name(node))
        latest = _latest_success(store.store, of_node, others)
        if latest is None:
            raise ConfigError(
                f"--from: {node.node_info.id} has not succeeded before, so there is nothing to "
                "take over",
                "run the whole chain: ordain run PROJECT",
            )
        outputs = execution_lib.get_output_artifacts(store, latest.id)
        if any(
            a.mlmd_artifact.state != pb.Artifact.LIVE for kept in outputs.values() for a in kept
        ):
            raise ConfigError(
                f"--from: what {node.node_info.id} left last was removed by ordain gc",
                "run the whole chain: ordain run PROJECT",
            )
        gone = [a.uri for kept in outputs.values() for a in kept if not shared_files.has(a.uri)]
        if gone:
            raise ConfigError(
                f"--from: what {node.node_info.id} left last is not in the workspace: there is no "
                f"{gone[0]}",
                "run the whole chain: ordain run PROJECT",
            )
        execution = execution_publish_utils.register_execution(
            metadata_handle=store, execution_type=node.node_info.type, contexts=contexts
        )
        execution_publish_utils.publish_cached_executions(
            store,
            contexts=contexts,
            executions=[execution],
            output_artifacts_maps=[outputs],
        )
        return int(execution.id)


def _node_name(node: Any) -> str:
    """The name of the context that a node's executions share over all runs."""
    (name,) = (
        context.name.field_value.string_value
        for context in node.contexts.contexts
        if context.type.name == "node"
    )
    return str(name)


def _latest_success(store: Any, node_context: int, contexts: set[int]) -> Any:
    """The newest successful execution of a node that belongs to all contexts, or None."""
    for execution in newest_executions(store, node_context):
        if not execution_lib.is_execution_successful(execution):
            continue
        if contexts <= {c.id for c in store.get_contexts_by_execution(execution.id)}:
            return execution
    return None
