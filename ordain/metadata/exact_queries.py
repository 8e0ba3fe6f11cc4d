"""Replacements of TFX's queries of ML Metadata, whose cost does not grow with the history.

TFX 1.21 finds executions with filter queries, which ml-metadata 1.21 no longer has (they needed
ZetaSQL). Each falls back to reading *every* execution of the pipeline, the node and the run, and
intersecting them in Python. ml-metadata returns them in pages of 100 and reads the whole list of
ids again for each page, so the cost of one launch grows with the square of the number of past runs,
and a launch queries several times.

The replacements give the same results:

- executions of this run: this process registered all of them, and records the contexts of each
  (`Association` has no index by execution, so a query would scan);
- artifacts of all runs, for resolvers: by their type;
- the cache: the newest execution under the key, not all of them.

The cache key is replaced too: TFX's contains absolute paths, so that no node would be cached in a
workspace that was moved. Here it contains the portable paths that ML Metadata stores.

`tests/unit/metadata/test_exact_queries.py` fails once upstream fixes it, and this module can go.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
from ml_metadata import errors
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.orchestration.portable import cache_utils
from tfx.orchestration.portable.input_resolution import channel_resolver
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.types import artifact_utils

from ordain.metadata.portable_paths import PortablePaths
from ordain.metadata.server_client import rewrite
from ordain.storage import artifact_store

#: The newest execution under a cache key nearly always has live outputs; older ones are read only
#: if it has not.
_FIRST_PAGE = 1
_PAGE = 100
#: TFX's prefix for inputs that only a node's condition reads.
_CONDITION = "_"


@contextlib.contextmanager
def exact_queries(run_id: str, pipeline_root: str) -> Iterator[None]:
    """Replaces TFX's queries while a run is executed.

    Args:
        run_id: The run.
        pipeline_root: Folder of the pipeline's artifacts, which excludes other pipelines'.
    """
    queries = _Queries(run_id, pipeline_root)
    with contextlib.ExitStack() as stack:
        for module, name, replacement in (
            (execution_lib, "put_execution", queries.recording(execution_lib.put_execution)),
            (execution_lib, "put_executions", queries.recording(execution_lib.put_executions)),
            (
                execution_lib,
                "get_executions_associated_with_all_contexts",
                queries.executions_for(execution_lib.get_executions_associated_with_all_contexts),
            ),
            (
                channel_resolver,
                "_get_executions_by_all_contexts",
                queries.executions_by(channel_resolver._get_executions_by_all_contexts),
            ),
            (
                channel_resolver,
                "resolve_single_channel",
                queries.channel(channel_resolver.resolve_single_channel),
            ),
            (cache_utils, "get_cached_outputs", newest_cached_outputs),
        ):
            stack.enter_context(replaced(module, name, replacement))
        yield


@contextlib.contextmanager
def replaced(module: Any, name: str, replacement: Any) -> Iterator[None]:
    """Replaces a function of a module, which TFX calls through the module.

    Args:
        module: The module.
        name: The function's name in it.
        replacement: The function to call instead while entered.
    """
    original = getattr(module, name)
    setattr(module, name, replacement)
    try:
        yield
    finally:
        setattr(module, name, original)


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
        if all(artifact_store.has(a.uri) for artifacts in outputs.values() for a in artifacts):
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


class _Queries:
    """The executions of a run that this process registered."""

    def __init__(self, run_id: str, pipeline_root: str) -> None:
        self._run_id = run_id
        self._root = f"{pipeline_root.rstrip('/')}/"
        self._contexts: dict[int, set[int]] = {}
        self._is_read = False

    def recording(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Wraps `put_execution` and `put_executions` to record the contexts of executions."""

        def put(metadata_handle: Any, written: Any, contexts: Any, *args: Any, **rest: Any) -> Any:
            done = original(metadata_handle, written, contexts, *args, **rest)
            for execution in done if isinstance(done, list | tuple) else [done]:
                known = self._contexts.setdefault(execution.id, set())
                known.update(context.id for context in contexts)
            return done

        return put

    def executions_for(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Replaces `execution_lib.get_executions_associated_with_all_contexts`."""

        def get(metadata_handle: Any, contexts: Any) -> list[Any]:
            wanted = list(contexts)
            if not self._is_of_run(wanted):
                return list(original(metadata_handle, wanted))
            found = self._executions(metadata_handle.store, wanted)
            return sorted(found, key=lambda e: e.create_time_since_epoch)

        return get

    def executions_by(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Replaces `channel_resolver._get_executions_by_all_contexts`."""

        def get(store: mlmd.MetadataStore, contexts: Any) -> list[Any]:
            if not self._is_of_run(contexts):
                return list(original(store, contexts))
            return self._executions(store, contexts)

        return get

    def channel(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Replaces `channel_resolver.resolve_single_channel`."""

        def resolve(handle_like: Any, channel: Any) -> list[Any]:
            kinds = {query.type.name for query in channel.context_queries}
            if kinds != {"pipeline"} or channel.output_key:
                return list(original(handle_like, channel))
            store = channel_resolver.mlmd_cm.get_handle(handle_like).store
            try:
                kind = store.get_artifact_type(channel.artifact_query.type.name)
            except errors.NotFoundError:
                return []
            mine = [
                artifact
                for artifact in store.get_artifacts_by_type(kind.name)
                if artifact.state == pb.Artifact.LIVE
                and artifact.uri.startswith(self._root)
                # Machines with workspaces of their own may share the database.
                and not artifact_store.is_missing(artifact.uri)
            ]
            return list(artifact_utils.deserialize_artifacts(kind, mine))

        return resolve

    def _is_of_run(self, contexts: Sequence[Any]) -> bool:
        return any(context.name == self._run_id for context in contexts)

    def _executions(self, store: mlmd.MetadataStore, contexts: Sequence[Any]) -> list[Any]:
        """Lists the executions of this run that belong to all contexts."""
        if not self._is_read:
            self._read(store, next(c.id for c in contexts if c.name == self._run_id))
        wanted = {context.id for context in contexts}
        ids = [number for number, known in self._contexts.items() if wanted <= known]
        return list(store.get_executions_by_id(ids)) if ids else []

    def _read(self, store: mlmd.MetadataStore, run_context_id: int) -> None:
        """Reads the executions that the run had before this process; normally there are none."""
        self._is_read = True
        for execution in store.get_executions_by_context(run_context_id):
            if execution.id not in self._contexts:
                contexts = store.get_contexts_by_execution(execution.id)
                self._contexts[execution.id] = {context.id for context in contexts}
