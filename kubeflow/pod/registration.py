"""What `prepare` writes into ML Metadata: tables, types and contexts, once and before all nodes.

ML Metadata looks a type or a context up and makes it if it is not there, in two steps: tasks that
begin at the same time on a fresh database would make some of them twice. Here they are made by one
process at a time, and the nodes find them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tfx.orchestration.portable.mlmd import common_utils, context_lib

from ordain.config.project import Project
from ordain.history import recovery
from ordain.history.results import Recovered
from ordain.metadata import tfx_handle
from ordain.pipeline import span_binding
from ordain.runner.pod_lock import NodeLocks


def register_run(
    project: Project, ir: Any, spans: Sequence[int], run_id: str, locks: NodeLocks
) -> list[Recovered]:
    """Makes tables, types and contexts, and closes what dead pods left.

    Args:
        project: The project.
        ir: The chain's IR, bound to the run.
        spans: Numbers of the window's spans.
        run_id: The run.
        locks: The locks of nodes.

    Returns:
        What was closed of runs before.
    """
    # Opened before: the first one to open a database makes its tables, under the same lock.
    with tfx_handle.Handle(project.metadata, project.paths) as handle, locks.tables():
        recovered = recovery.close_dead_runs(handle.store, project.workspace, run_id, locks.attempt)
        for node in _launches(project, ir, spans):
            common_utils.register_type_if_not_exist(handle, node.node_info.type)
            for output in node.outputs.outputs.values():
                common_utils.register_type_if_not_exist(handle, output.artifact_spec.type)
            context_lib.prepare_contexts(handle, node.contexts)
        recovery.mark_pods(handle.store, run_id)
    return recovered


def _launches(project: Project, ir: Any, spans: Sequence[int]) -> Iterator[Any]:
    """Every node as it will be launched, span by span where it works so."""
    for node in ir.nodes:
        if node.pipeline_node.node_info.id not in span_binding.PER_SPAN:
            yield node.pipeline_node
            continue
        for span in spans:
            yield span_binding.bind_span(
                node.pipeline_node, project.name, span, project.data.has_spans
            )
