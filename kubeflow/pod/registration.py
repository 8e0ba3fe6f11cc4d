"""Registers a run in ML Metadata before its nodes start: tables, types and contexts.

ML Metadata looks up a type or context and creates it in two steps, so tasks that start at the same
time on a fresh database could create some of them twice. Here one process at a time creates them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tfx.orchestration.portable.mlmd import common_utils, context_lib

from ordain.config.project import Project
from ordain.history import recovery
from ordain.history.results import Recovered
from ordain.metadata.store import tfx_handle
from ordain.pipeline import span_binding
from ordain.runner.pod_lock import NodeLocks


def register_run(
    project: Project, ir: Any, spans: Sequence[int], run_id: str, locks: NodeLocks
) -> list[Recovered]:
    """Creates tables, types and contexts, and closes executions of dead pods.

    Args:
        project: The project.
        ir: The pipeline's IR, bound to the run.
        spans: Numbers of the window's spans.
        run_id: The run.
        locks: The locks of nodes.

    Returns:
        What was closed of earlier runs.
    """
    # Opened first: whoever opens a new database creates its tables, under the same lock.
    with tfx_handle(project.metadata, project.paths) as handle, locks.tables():
        recovered = recovery.close_dead_runs(handle.store, project.workspace, run_id, locks.attempt)
        for node in _launches(project, ir, spans):
            common_utils.register_type_if_not_exist(handle, node.node_info.type)
            for output in node.outputs.outputs.values():
                common_utils.register_type_if_not_exist(handle, output.artifact_spec.type)
            context_lib.prepare_contexts(handle, node.contexts)
        recovery.mark_pods(handle.store, run_id)
    return recovered


def _launches(project: Project, ir: Any, spans: Sequence[int]) -> Iterator[Any]:
    """Yields every node as it will be launched, once per span for per-span nodes."""
    for node in ir.nodes:
        if node.pipeline_node.node_info.id not in span_binding.PER_SPAN:
            yield node.pipeline_node
            continue
        for span in spans:
            yield span_binding.bind_span(
                node.pipeline_node, project.name, span, project.data.has_spans
            )
