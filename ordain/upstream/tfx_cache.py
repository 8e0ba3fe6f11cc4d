"""TFX 1.21: the cache of nodes, with portable keys and lookups of constant cost.

- `portable_keys`: TFX's cache key contains absolute paths, so that no node would be cached in a
  workspace that was moved. Here it contains the portable paths that ML Metadata stores.
- `newest_cached_outputs`: TFX reads all executions under a key; the newest nearly always does.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
from tfx.orchestration.portable import cache_utils
from tfx.orchestration.portable.mlmd import execution_lib

from ordain.common.portable_paths import PortablePaths
from ordain.storage import artifact_store
from ordain.upstream.ml_metadata import rewrite
from ordain.upstream.replace import replaced

#: The newest execution under a cache key nearly always has live outputs; older ones are read only
#: if it has not.
_FIRST_PAGE = 1
_PAGE = 100
#: TFX's prefix for inputs that only a node's condition reads.
_CONDITION = "_"


@contextlib.contextmanager
def portable_keys(paths: PortablePaths) -> Iterator[None]:
    """Makes cache keys from portable paths while a run is executed.

    Args:
        paths: The folders that may move.
    """
    key = _portable_key(cache_utils.get_cache_context, paths)
    with replaced(cache_utils, "get_cache_context", key):
        yield


def _portable_key(original: Callable[..., Any], paths: PortablePaths) -> Callable[..., Any]:
    """Wraps `cache_utils.get_cache_context` to use portable paths."""

    def portable(message: Any) -> Any:
        """Copies an artifact or a message with portable paths."""
        copied = copy.deepcopy(message)
        rewrite(getattr(copied, "mlmd_artifact", copied), paths.portable)
        return copied

    def get(
        metadata_handle: Any,
        pipeline_node: Any,
        pipeline_info: Any,
        executor_spec: Any = None,
        input_artifacts: Mapping[str, Sequence[Any]] | None = None,
        output_artifacts: Mapping[str, Sequence[Any]] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Any:
        values = {key: paths.portable(str(value)) for key, value in (parameters or {}).items()}
        module = (parameters or {}).get("module_file")
        if module:
            # TFX would read the file at its portable path, to add its text to the key.
            values["module"] = values.pop("module_file")
            values["module_text"] = Path(module).read_text(encoding="utf-8")
        return original(
            metadata_handle=metadata_handle,
            pipeline_node=pipeline_node,
            pipeline_info=pipeline_info,
            executor_spec=executor_spec and portable(executor_spec),
            input_artifacts={
                key: [portable(artifact) for artifact in artifacts]
                for key, artifacts in (input_artifacts or {}).items()
                if not is_condition(key)
            },
            output_artifacts=output_artifacts,
            parameters=values,
        )

    return get


def is_condition(key: str) -> bool:
    """Returns True for an input that only a condition reads, such as a gate's verdict."""
    return key.startswith(_CONDITION)


def newest_cached_outputs(metadata_handle: Any, cache_context: Any) -> Any:
    """Finds the newest successful execution under a cache key whose outputs all exist.

    The rule is that of `cache_utils.get_cached_outputs`, which reads all executions first.

    Args:
        metadata_handle: TFX's handle, opened.
        cache_context: The context of the cache key.

    Returns:
        Its artifacts by output key, or None.
    """
    for execution in newest_executions(metadata_handle.store, cache_context.id):
        if not execution_lib.is_execution_successful(execution):
            continue
        outputs = cache_utils._get_outputs_of_execution(metadata_handle, execution.id)
        if outputs is None:
            continue
        # TFX checks only the workspace (`artifact_utils.verify_artifacts`), not a bucket.
        if all(
            artifact_store.current().has(a.uri) for artifacts in outputs.values() for a in artifacts
        ):
            return outputs
    return None


def newest_executions(store: mlmd.MetadataStore, context_id: int) -> Iterator[Any]:
    """Yields the executions of a context, newest first, and reads them on demand."""
    limit, seen = _FIRST_PAGE, 0
    while True:
        # By id, which the index of the context has in order; by time the database sorts them all.
        options = mlmd.ListOptions(limit=limit, order_by=mlmd.OrderByField.ID, is_asc=False)
        executions = store.get_executions_by_context(context_id, list_options=options)
        yield from executions[seen:]
        if len(executions) < limit:
            return
        limit, seen = limit * _PAGE, len(executions)
