"""Cleans up after killed runs: active executions in ML Metadata, and incomplete outputs.

The execution of a killed process stays RUNNING, with incomplete files. Its age proves nothing, as a
training may take days; a lock does. While a run locks the workspace exclusively, no other run is
alive, so every execution that is still active belongs to a dead run. A task in a pod locks its node
(`ordain.runner.pod_lock`), so an active execution is dead if its node can be locked.

The newest run that was checked is marked in ML Metadata, so that a run's start reads only the runs
since then. A run in pods has no active execution between its tasks, so neither it nor later runs
are marked before its last task has ended.
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
from ordain.history.runs import History, place_of
from ordain.serving.registry.verification import read_manifest
from ordain.serving.registry.versions import list_versions
from ordain.storage import artifact_store

#: Custom property of an execution that was closed here: why.
CLOSED_PROPERTY = "ordain_closed"
#: Custom property of a run's context: this run and all before it have no active execution.
_CHECKED = "ordain_looked_through"
#: Custom properties of a run in pods: it has begun, and it has ended.
_IN_PODS, _OVER = "ordain_in_pods", "ordain_over"
#: Our properties of contexts and executions that are not part of a run's result.
MARKS = (CLOSED_PROPERTY, _CHECKED, _IN_PODS, _OVER)
#: A run in pods that was cancelled is never marked as over, nor is one that failed, because it may
#: be retried under its id; they are checked again until they are this old.
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


#: Locks a node, given pipeline, run and node, while entered; yields whether that succeeded.
Attempt = Callable[[str, str, str], AbstractContextManager[bool]]


def close_dead_runs(
    store: mlmd.MetadataStore, workspace: Path, run_id: str, attempt: Attempt | None = None
) -> list[Recovered]:
    """Closes the active executions of dead runs.

    The caller must not have registered anything of its own run yet.

    Args:
        store: ML Metadata.
        workspace: The workspace, from which incomplete outputs are removed.
        run_id: The run that closes, for the record.
        attempt: Locks a node; None if the caller locks the workspace exclusively.

    Returns:
        One entry for each dead run that had active executions, newest first.
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
        # Last: if this process is killed before, the next run checks the same runs again.
        newest.custom_properties[_CHECKED].int_value = 1
        store.put_contexts([newest])
    return found


def mark_pods(store: mlmd.MetadataStore, run_id: str, is_over: bool = False) -> None:
    """Marks a run as one in pods, or as over.

    Args:
        store: ML Metadata.
        run_id: The run, whose context exists.
        is_over: Whether its last task has ended.
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
    """The newest version, if its publisher was killed before it was recorded in ML Metadata.

    Args:
        history: The project's past runs.
        serving: Its serving directory.
    """
    versions = list_versions(serving)
    if not versions:
        return None
    try:
        run_id = read_manifest(serving / str(versions[-1])).run_id
    except InfrastructureError:  # not published by ordain
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
    """Yields the contexts of the runs since the last that was checked, newest first."""
    limit, seen = _PAGE, 0
    while True:
        options = mlmd.ListOptions(limit=limit, order_by=mlmd.OrderByField.ID, is_asc=False)
        contexts = store.get_contexts(list_options=options)
        for context in contexts[seen:]:
            if context.type != "pipeline_run":
                continue
            if _CHECKED in context.custom_properties:
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
        pipeline, node, span = place_of(store, execution.id)
        with contextlib.ExitStack() as stack:
            if attempt is not None:
                if not stack.enter_context(attempt(pipeline, dead_run, node)):
                    continue
                # It may have ended, and unlocked its node, since it was read.
                (execution,) = store.get_executions_by_id([execution.id])  # noqa: PLW2901
                if execution.last_known_state not in _ACTIVE:
                    continue
            # Folders first: if this process is killed, the execution is still active for the next.
            removed += remove_leftovers(
                store, workspace, pipeline, node, execution.id, is_alone=attempt is None
            )
            execution.last_known_state = pb.Execution.FAILED
            execution.custom_properties[
                CLOSED_PROPERTY
            ].string_value = f"run {dead_run} ended without closing it; closed by run {run_id}"
            _abandon_outputs(store, [execution.id])
            store.put_executions([execution])
        nodes.append(node if span is None else f"{node} span {span}")
        closed.append(execution.id)
        reason = reason or _reason(workspace / pipeline / "runs" / dead_run, node)
    return Recovered(dead_run, tuple(nodes), tuple(closed), removed, reason)


def _reason(run_folder: Path, node: str) -> str:
    """Returns why a run was killed, if its last memory record shows it."""
    last = last_record(run_folder, node)
    if last is None or not last.was_scarce:
        return ""
    left, total = last.memory.available_bytes / 1e6, last.memory.total_bytes / 1e6
    return (
        f"the machine had run out of memory ({left:.0f} of {total:.0f} MB were left, the run held "
        f"{last.rss_bytes / 1e6:.0f} MB); ordain plan estimates what a run needs"
    )


def remove_leftovers(
    store: mlmd.MetadataStore,
    workspace: Path,
    pipeline: str,
    node: str,
    execution_id: int,
    is_alone: bool,
) -> int:
    """Removes the outputs of an execution that never ended.

    Args:
        store: ML Metadata.
        workspace: The workspace.
        pipeline: Name of the pipeline.
        node: The node.
        execution_id: The execution.
        is_alone: Whether no other run is alive.

    Returns:
        Number of folders removed.
    """
    root = workspace / pipeline / "artifacts" / node
    return sum(_remove(folder) for folder in _leftovers(store, root, execution_id, is_alone))


def _abandon_outputs(store: mlmd.MetadataStore, execution_ids: list[int]) -> None:
    """Marks outputs of executions that were registered and never became live."""
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
    """Yields the folders of an execution that never ended, which TFX names by its id.

    Its stateful working folder has a random name. If no other run is alive, every such folder
    belongs to a dead run, because a run removes its own when it ends.
    """
    here = node.glob(f"*/{execution_id}")
    for folder in sorted({*here, *artifact_store.current().outputs_of(node, execution_id)}):
        live = store.get_artifacts_by_uri(str(folder))
        if not any(artifact.state == pb.Artifact.LIVE for artifact in live):
            yield folder
    yield node / ".system" / "executor_execution" / str(execution_id)
    if is_alone:
        yield from sorted((node / ".system" / "stateful_working_dir").glob("*"))


def _remove(folder: Path) -> bool:
    was_shared = artifact_store.current().discard(str(folder))
    if not folder.is_dir():
        return was_shared
    shutil.rmtree(folder, ignore_errors=True)
    return True
