"""Cleans up after killed runs: active executions in ML Metadata, and half-written output.

A process that is killed closes nothing: its execution stays RUNNING for ever, with half of its
files beside it. Age says nothing of it, as a training may take days; a lock does. Whoever holds the
workspace alone knows that no other run lives, so every execution that is still active is a dead
run's. Of tasks in pods each holds its node (`ordain.runner.pod_lock`), so an execution is dead
whose node can be taken.

The newest run that has been looked through carries a mark, so that a run's start reads the runs
since then and not the whole history. A run in pods rests between its tasks: what is looked through
ends before it, until its last task said that it is over.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from ordain.errors import InfrastructureError
from ordain.history.resource_usage import last_record
from ordain.history.results import Recovered
from ordain.history.runs import History
from ordain.serving.registry.verification import read_manifest
from ordain.serving.registry.versions import list_versions
from ordain.storage import artifact_store

#: Custom property of an execution that was closed here: why.
CLOSED_PROPERTY = "ordain_closed"
#: Custom property of a run's context: this run and all before it hold nothing active.
_LOOKED_THROUGH = "ordain_looked_through"
#: And of one in pods: it has begun, it is over.
_IN_PODS, _OVER = "ordain_in_pods", "ordain_over"
#: Properties of contexts and executions that are ours and tell of no run's result.
MARKS = (CLOSED_PROPERTY, _LOOKED_THROUGH, _IN_PODS, _OVER)
#: A run in pods that was cancelled never says that it is over, and one that failed does not either,
#: because it may be tried again under its id; they are looked through until then.
_FORGOTTEN_AFTER_S = 30 * 86400
_ACTIVE = (pb.Execution.NEW, pb.Execution.RUNNING)
_OUTPUTS = (
    pb.Event.OUTPUT,
    pb.Event.DECLARED_OUTPUT,
    pb.Event.INTERNAL_OUTPUT,
    pb.Event.PENDING_OUTPUT,
)
#: Contexts read at first: the last run's own, with a cache key for each node it executed.
_PAGE = 100


#: Takes a pipeline, a run and a node; says whether it got them, and holds them while entered.
Attempt = Callable[[str, str, str], AbstractContextManager[bool]]


def close_dead_runs(
    store: mlmd.MetadataStore, workspace: Path, run_id: str, attempt: Attempt | None = None
) -> list[Recovered]:
    """Closes what runs that are no more left active.

    The caller has registered nothing of its own run yet.

    Args:
        store: ML Metadata.
        workspace: The workspace, for what the dead left on the disk.
        run_id: The run that closes, for the record.
        attempt: Takes a node that nobody holds; None where the caller holds the workspace alone.

    Returns:
        One entry for each dead run that left something, newest first.
    """
    found = []
    newest = None
    for context in _unseen_runs(store):
        newest = (newest or context) if _is_over(context) else None
        active = [
            execution
            for execution in store.get_executions_by_context(context.id)
            if execution.last_known_state in _ACTIVE
        ]
        if active:
            closed = _close(store, workspace, context.name, active, run_id, attempt)
            found += [closed] if closed.execution_ids else []
    if newest is not None:
        # Last: killed before, the next run looks through the same runs again.
        newest.custom_properties[_LOOKED_THROUGH].int_value = 1
        store.put_contexts([newest])
    return found


def mark_pods(store: mlmd.MetadataStore, run_id: str, is_over: bool = False) -> None:
    """Notes that a run is one in pods, which rests between its tasks, or that it is over.

    Args:
        store: ML Metadata.
        run_id: The run, whose context is there.
        is_over: Whether no task of it comes any more.
    """
    context = store.get_context_by_type_and_name("pipeline_run", run_id)
    context.custom_properties[_OVER if is_over else _IN_PODS].int_value = 1
    store.put_contexts([context])


def _is_over(context: Any) -> bool:
    marks = context.custom_properties
    if _IN_PODS not in marks or _OVER in marks:
        return True
    return time.time() - context.create_time_since_epoch / 1000 > _FORGOTTEN_AFTER_S


def unrecorded_version(history: History, serving: Path) -> int | None:
    """The newest version, if its publisher was killed before ML Metadata knew of it.

    Args:
        history: The project's past runs.
        serving: Its serving directory.
    """
    versions = list_versions(serving)
    if not versions:
        return None
    try:
        run_id = read_manifest(serving / str(versions[-1])).run_id
    except InfrastructureError:  # somebody else's: no manifest of ours
        return None
    run = history.store.get_context_by_type_and_name("pipeline_run", run_id) if run_id else None
    if run is None:
        return None
    ids = [execution.id for execution in history.store.get_executions_by_context(run.id)]
    for outputs in history.outputs_of(ids).values():
        if any(o.properties.get("pushed_version") == str(versions[-1]) for o in outputs):
            return None
    return versions[-1]


def _unseen_runs(store: mlmd.MetadataStore) -> Iterator[Any]:
    """Contexts of the runs since the last that was looked through, newest first."""
    limit, seen = _PAGE, 0
    while True:
        options = mlmd.ListOptions(limit=limit, order_by=mlmd.OrderByField.ID, is_asc=False)
        contexts = store.get_contexts(list_options=options)
        for context in contexts[seen:]:
            if context.type != "pipeline_run":
                continue
            if _LOOKED_THROUGH in context.custom_properties:
                return
            yield context
        if len(contexts) < limit:
            return
        limit, seen = limit * 10, len(contexts)


def _close(
    store: mlmd.MetadataStore,
    workspace: Path,
    dead_run: str,
    active: list[Any],
    run_id: str,
    attempt: Attempt | None,
) -> Recovered:
    nodes, closed, removed, reason = [], [], 0, ""
    for execution in active:
        pipeline, node, span = _place(store, execution.id)
        with contextlib.ExitStack() as stack:
            if attempt is not None:
                if not stack.enter_context(attempt(pipeline, dead_run, node)):
                    continue
                # It may have ended since it was read, and only then given its node free.
                (execution,) = store.get_executions_by_id([execution.id])  # noqa: PLW2901
                if execution.last_known_state not in _ACTIVE:
                    continue
            # Folders first: killed here, the execution is still active and the next run goes on.
            removed += remove_leftovers(
                store, workspace, pipeline, node, execution.id, is_alone=attempt is None
            )
            execution.last_known_state = pb.Execution.FAILED
            execution.custom_properties[
                CLOSED_PROPERTY
            ].string_value = f"run {dead_run} ended without closing it; closed by run {run_id}"
            _abandon_outputs(store, [execution.id])
            store.put_executions([execution])
        nodes.append(node if span is None else f"{node} {span}")
        closed.append(execution.id)
        reason = reason or _reason(workspace / pipeline / "runs" / dead_run, node)
    return Recovered(dead_run, tuple(nodes), tuple(closed), removed, reason)


def _reason(run_folder: Path, node: str) -> str:
    """Why a run was killed, if the last that its node's meter noted says so."""
    last = last_record(run_folder, node)
    if last is None or not last.was_scarce:
        return ""
    left, total = last.memory.available_bytes / 1e6, last.memory.total_bytes / 1e6
    return (
        f"the machine had run out of memory ({left:.0f} of {total:.0f} MB were left, the run held "
        f"{last.rss_bytes / 1e6:.0f} MB); ordain plan says what a run needs"
    )


def remove_leftovers(
    store: mlmd.MetadataStore,
    workspace: Path,
    pipeline: str,
    node: str,
    execution_id: int,
    is_alone: bool,
) -> int:
    """Removes what an execution that never ended has written.

    Args:
        store: ML Metadata.
        workspace: The workspace.
        pipeline: Name of the pipeline.
        node: The node.
        execution_id: The execution.
        is_alone: Whether no other run lives.

    Returns:
        How many folders that makes.
    """
    root = workspace / pipeline / "artifacts" / node
    return sum(_remove(folder) for folder in _leftovers(store, root, execution_id, is_alone))


def _place(store: mlmd.MetadataStore, execution_id: int) -> tuple[str, str, str | None]:
    """An execution's pipeline, node and span."""
    names = {c.type: c.name for c in store.get_contexts_by_execution(execution_id)}
    pipeline = names.get("pipeline", "")
    node = names.get("node", "").removeprefix(f"{pipeline}.")
    span = names["span"].rpartition(".")[2].replace("-", " ", 1) if "span" in names else None
    return pipeline, node, span


def _abandon_outputs(store: mlmd.MetadataStore, execution_ids: list[int]) -> None:
    """Artifacts that were announced and never became live."""
    events = store.get_events_by_execution_ids(execution_ids)
    ids = sorted({event.artifact_id for event in events if event.type in _OUTPUTS})
    pending = [a for a in store.get_artifacts_by_id(ids) if a.state == pb.Artifact.PENDING]
    for artifact in pending:
        artifact.state = pb.Artifact.ABANDONED
    if pending:
        store.put_artifacts(pending)


def _leftovers(
    store: mlmd.MetadataStore, node: Path, execution_id: int, is_alone: bool
) -> Iterator[Path]:
    """Folders of an execution that never ended: TFX names them by its id.

    Its stateful working folder has a random name. Where no other run lives, one that is there is
    a dead run's too: a run that ends removes its own.
    """
    here = node.glob(f"*/{execution_id}")
    for folder in sorted({*here, *artifact_store.outputs_of(node, execution_id)}):
        live = store.get_artifacts_by_uri(str(folder))
        if not any(artifact.state == pb.Artifact.LIVE for artifact in live):
            yield folder
    yield node / ".system" / "executor_execution" / str(execution_id)
    if is_alone:
        yield from sorted((node / ".system" / "stateful_working_dir").glob("*"))


def _remove(folder: Path) -> bool:
    was_shared = artifact_store.discard(str(folder))
    if not folder.is_dir():
        return was_shared
    shutil.rmtree(folder, ignore_errors=True)
    return True
