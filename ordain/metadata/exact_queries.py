"""TFX's questions to ML Metadata, asked so that a long history does not slow a run down.

The trap. TFX 1.21 finds executions with filter queries, which ml-metadata 1.21 no longer has
(they needed ZetaSQL). Each falls back to reading *every* execution of the pipeline, of the node
and of the run, and to intersecting them in Python. ml-metadata hands them out in pages of 100
and reads the whole list of ids again for each page, so the cost of one launch grows with the
square of the number of past runs, and a launch asks several times.

Here the same questions have exact answers:

- executions of this run: everything this run registered went through this process, which notes
  the contexts of each (`Association` has no index by execution, so asking would scan);
- artifacts of all runs (what a resolver looks back to): by their type;
- the cache: the newest execution under the key, not all of them.

The cache's key is another one as well: TFX's is made of absolute paths among others, so that no
node would be cached in a workspace that was moved. Here it is made of what ML Metadata keeps.

`tests/unit/metadata/test_exact_queries.py` fails when upstream mends it, so that this module
can go.
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

#: The newest execution under a cache key nearly always has live outputs; further ones are asked
#: for only where it has not.
_FIRST_PAGE = 1
_PAGE = 100
#: How the names of inputs that only a node's condition reads begin in TFX.
_CONDITION = "_"


@contextlib.contextmanager
def exact_queries(run_id: str, pipeline_root: str) -> Iterator[None]:
    """Answers TFX's questions exactly while a run is walked.

    Args:
        run_id: The run.
        pipeline_root: Folder of the pipeline's artifacts; tells them from other pipelines'.
    """
    queries = _Queries(run_id, pipeline_root)
    with contextlib.ExitStack() as stack:
        for module, name, replacement in (
            (execution_lib, "put_execution", queries.noting(execution_lib.put_execution)),
            (execution_lib, "put_executions", queries.noting(execution_lib.put_executions)),
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
    """Replaces a function where its callers look it up: TFX calls these by their module's name.

    Args:
        module: The module.
        name: The function's name in it.
        replacement: What is called instead, until this is left.
    """
    original = getattr(module, name)
    setattr(module, name, replacement)
    try:
        yield
    finally:
        setattr(module, name, original)


@contextlib.contextmanager
def portable_keys(paths: PortablePaths) -> Iterator[None]:
    """Makes the cache's keys such as a move does not change, while a run is walked.

    Args:
        paths: The folders that may move.
    """
    key = _portable_key(cache_utils.get_cache_context, paths)
    with replaced(cache_utils, "get_cache_context", key):
        yield


def _portable_key(original: Callable[..., Any], paths: PortablePaths) -> Callable[..., Any]:
    """`cache_utils.get_cache_context` on paths as they are kept."""

    def kept(message: Any) -> Any:
        """An artifact or a message in the form that ML Metadata keeps."""
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
        told = {key: paths.portable(str(value)) for key, value in (parameters or {}).items()}
        module = (parameters or {}).get("module_file")
        if module:
            # TFX adds the text of the file; it would look for it where there is none.
            told["module"] = told.pop("module_file")
            told["module_text"] = Path(module).read_text(encoding="utf-8")
        return original(
            metadata_handle=metadata_handle,
            pipeline_node=pipeline_node,
            pipeline_info=pipeline_info,
            executor_spec=executor_spec and kept(executor_spec),
            input_artifacts={
                key: [kept(artifact) for artifact in artifacts]
                for key, artifacts in (input_artifacts or {}).items()
                if not is_condition(key)
            },
            output_artifacts=output_artifacts,
            parameters=told,
        )

    return get


def is_condition(key: str) -> bool:
    """True for an input that says whether a node runs, not what it makes: a gate's verdict."""
    return key.startswith(_CONDITION)


def newest_cached_outputs(metadata_handle: Any, cache_context: Any) -> Any:
    """Outputs of the newest successful execution under a cache key that are all live and there.

    The rule is `cache_utils.get_cached_outputs`; only the reading stops where the answer is.

    Args:
        metadata_handle: TFX's handle, opened.
        cache_context: The context of the cache key.

    Returns:
        Artifacts by output key, or None.
    """
    for execution in newest_executions(metadata_handle.store, cache_context.id):
        if not execution_lib.is_execution_successful(execution):
            continue
        outputs = cache_utils._get_outputs_of_execution(metadata_handle, execution.id)
        if outputs is None:
            continue
        # TFX looks at the workspace alone (`artifact_utils.verify_artifacts`).
        if all(artifact_store.has(a.uri) for artifacts in outputs.values() for a in artifacts):
            return outputs
    return None


def newest_executions(store: mlmd.MetadataStore, context_id: int) -> Iterator[Any]:
    """Executions of a context, newest first, read as far as the caller goes."""
    limit, seen = _FIRST_PAGE, 0
    while True:
        # By id, which a database has in order beside the context; by time it sorts them all.
        options = mlmd.ListOptions(limit=limit, order_by=mlmd.OrderByField.ID, is_asc=False)
        executions = store.get_executions_by_context(context_id, list_options=options)
        yield from executions[seen:]
        if len(executions) < limit:
            return
        limit, seen = limit * _PAGE, len(executions)


class _Queries:
    """What this process knows of its run's executions."""

    def __init__(self, run_id: str, pipeline_root: str) -> None:
        self._run_id = run_id
        self._root = f"{pipeline_root.rstrip('/')}/"
        self._contexts: dict[int, set[int]] = {}
        self._is_read = False

    def noting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Notes the contexts of what `put_execution` and `put_executions` register."""

        def put(metadata_handle: Any, written: Any, contexts: Any, *args: Any, **rest: Any) -> Any:
            done = original(metadata_handle, written, contexts, *args, **rest)
            for execution in done if isinstance(done, list | tuple) else [done]:
                known = self._contexts.setdefault(execution.id, set())
                known.update(context.id for context in contexts)
            return done

        return put

    def executions_for(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """`execution_lib.get_executions_associated_with_all_contexts`."""

        def get(metadata_handle: Any, contexts: Any) -> list[Any]:
            wanted = list(contexts)
            if not self._is_of_run(wanted):
                return list(original(metadata_handle, wanted))
            found = self._executions(metadata_handle.store, wanted)
            return sorted(found, key=lambda e: e.create_time_since_epoch)

        return get

    def executions_by(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """`channel_resolver._get_executions_by_all_contexts`."""

        def get(store: mlmd.MetadataStore, contexts: Any) -> list[Any]:
            if not self._is_of_run(contexts):
                return list(original(store, contexts))
            return self._executions(store, contexts)

        return get

    def channel(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """`channel_resolver.resolve_single_channel`."""

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
                and not artifact_store.is_gone(artifact.uri)
            ]
            return list(artifact_utils.deserialize_artifacts(kind, mine))

        return resolve

    def _is_of_run(self, contexts: Sequence[Any]) -> bool:
        return any(context.name == self._run_id for context in contexts)

    def _executions(self, store: mlmd.MetadataStore, contexts: Sequence[Any]) -> list[Any]:
        """This run's executions that belong to all contexts."""
        if not self._is_read:
            self._read(store, next(c.id for c in contexts if c.name == self._run_id))
        wanted = {context.id for context in contexts}
        ids = [number for number, known in self._contexts.items() if wanted <= known]
        return list(store.get_executions_by_id(ids)) if ids else []

    def _read(self, store: mlmd.MetadataStore, run_context_id: int) -> None:
        """Executions that the run had before this process took it up: none, as a rule."""
        self._is_read = True
        for execution in store.get_executions_by_context(run_context_id):
            if execution.id not in self._contexts:
                contexts = store.get_contexts_by_execution(execution.id)
                self._contexts[execution.id] = {context.id for context in contexts}
