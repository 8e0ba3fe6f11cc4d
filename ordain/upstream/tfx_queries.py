"""TFX 1.21: queries of ML Metadata whose cost grows with the history, and replacements.

TFX finds executions with filter queries, which ml-metadata 1.21 no longer has (they needed
ZetaSQL). Each falls back to reading *every* execution of the pipeline, the node and the run, and
intersecting them in Python. ml-metadata returns them in pages of 100 and reads the whole list of
ids again for each page, so the cost of one launch grows with the square of the number of past runs,
and a launch queries several times.

The replacements give the same results:

- executions of this run: this process registered all of them, and records the contexts of each
  (`Association` has no index by execution, so a query would scan);
- artifacts of all runs, for resolvers: by their type;
- the cache: the newest execution under the key, not all of them (`ordain.upstream.tfx_cache`).

`tests/unit/upstream/test_tfx_queries.py` fails once upstream fixes it, and this module can go.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ml_metadata as mlmd
from ml_metadata import errors
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.orchestration.portable import cache_utils
from tfx.orchestration.portable.input_resolution import channel_resolver
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.types import artifact_utils

from ordain.storage import artifact_store
from ordain.upstream.replace import replaced
from ordain.upstream.tfx_cache import newest_cached_outputs


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
                and not artifact_store.current().is_missing(artifact.uri)
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
