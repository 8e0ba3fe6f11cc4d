"""`--from NODE`: the nodes before it are taken over from the last run, as TFX's partial runs do.

TFX's own recycler leaves out our `span` contexts, without which the spans' artifacts cannot be
told apart, so the executions are published here; the form (a CACHED execution with the old
outputs) is TFX's.
"""

from __future__ import annotations

from typing import Any

from tfx.orchestration.portable import execution_publish_utils
from tfx.orchestration.portable.mlmd import context_lib, execution_lib

from contracts.errors import ConfigError


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
        others = [c for c in contexts if c.name != run_id]
        done = [
            e
            for e in execution_lib.get_executions_associated_with_all_contexts(store, others)
            if execution_lib.is_execution_successful(e)
        ]
        if not done:
            raise ConfigError(
                f"--from: {node.node_info.id} has not succeeded before, so there is nothing to "
                "take over",
                "run the whole chain: ordain run PROJECT",
            )
        latest = max(done, key=lambda e: (e.create_time_since_epoch, e.id))
        execution = execution_publish_utils.register_execution(
            metadata_handle=store, execution_type=node.node_info.type, contexts=contexts
        )
        execution_publish_utils.publish_cached_executions(
            store,
            contexts=contexts,
            executions=[execution],
            output_artifacts_maps=[execution_lib.get_output_artifacts(store, latest.id)],
        )
        return int(execution.id)
