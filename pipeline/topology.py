"""Topology of a project's pipeline: its nodes, and the nodes that each waits for.

`ordain.pipeline.graph` builds the pipeline itself, which imports TFX and needs every value of the
configuration. The topology needs neither; the compiler for Kubeflow uses it. A test compares the
two.
"""

from __future__ import annotations

from collections.abc import Mapping

from ordain.common.node_id import NodeId
from ordain.config.model import NoBaseline
from ordain.config.project import Project
from ordain.pipeline.own_nodes import OwnNodes
from ordain.serving.registry.label_file import STABLE

#: Node id -> the nodes that it waits for, all of which come before it.
Topology = Mapping[str, tuple[str, ...]]


def topology_of(project: Project) -> Topology:
    """Lists a project's nodes in an order in which they can run, each with the nodes it waits for.

    Equal, except for the order, to the `upstream_nodes` of the IR that `graph.compile_ir` makes.

    Args:
        project: The project; its references need not be resolved.

    Raises:
        ConfigError: An own node of the project cannot be imported or wired; TFX is imported only if
            there are own nodes.
    """
    is_frozen = project.schema_file.exists()
    measured = (NodeId.STATISTICS_GEN, NodeId.SCHEMA_GEN)
    shape: dict[str, tuple[str, ...]] = {
        NodeId.EXAMPLE_GEN: (),
        NodeId.STATISTICS_GEN: (NodeId.EXAMPLE_GEN,),
        NodeId.SCHEMA_GEN: () if is_frozen else (NodeId.STATISTICS_GEN,),
        NodeId.EXAMPLE_VALIDATOR: measured,
        NodeId.DATA_GATE: (NodeId.EXAMPLE_GEN, *measured, NodeId.EXAMPLE_VALIDATOR),
    }
    # All nodes below depend on the data gate's verdict, and so wait for it.
    data = (NodeId.EXAMPLE_GEN, NodeId.SCHEMA_GEN, NodeId.DATA_GATE)
    if project.is_stock(NodeId.TRANSFORM):
        shape[NodeId.TRANSFORM] = data
    else:
        shape[NodeId.ANALYZER_CACHE] = (NodeId.EXAMPLE_GEN, NodeId.DATA_GATE)
        shape[NodeId.TRANSFORM] = (*data, NodeId.ANALYZER_CACHE)
    training = [*data, NodeId.TRANSFORM]
    if project.tune is not None:
        shape[NodeId.TUNER] = (NodeId.SCHEMA_GEN, NodeId.DATA_GATE, NodeId.TRANSFORM)
        training.append(NodeId.TUNER)
    if project.train.base_model is not None:
        shape[NodeId.BASE_MODEL] = (NodeId.DATA_GATE, NodeId.TRANSFORM)
        training.append(NodeId.BASE_MODEL)
    shape[NodeId.TRAINER] = tuple(training)
    evaluated = [*data, NodeId.TRAINER]
    if not isinstance(project.evaluate.baseline, NoBaseline):
        shape[NodeId.BASELINE] = (NodeId.DATA_GATE, NodeId.TRAINER)
        evaluated.append(NodeId.BASELINE)
    shape[NodeId.EVALUATOR] = tuple(evaluated)
    pushed = [*data, NodeId.TRAINER, NodeId.EVALUATOR]
    server = project.gate.server
    if server.none is None:
        compared: tuple[str, ...] = ()
        if server.compares_signatures:
            stable = NodeId.BASELINE if project.evaluate.baseline == STABLE else NodeId.STABLE
            shape.setdefault(stable, (NodeId.DATA_GATE, NodeId.TRAINER))
            compared = (NodeId.EXAMPLE_GEN, stable)
        shape[NodeId.SERVER_GATE] = (*compared, NodeId.DATA_GATE, NodeId.TRAINER, NodeId.EVALUATOR)
        pushed.append(NodeId.SERVER_GATE)
    shape[NodeId.PUSHER] = tuple(pushed)
    return _with_own_nodes(project, shape) if project.nodes else shape


def _with_own_nodes(project: Project, shape: Topology) -> Topology:
    """Inserts a project's own nodes; nodes behind an own gate wait for it."""
    own = OwnNodes(project)
    found: dict[str, tuple[str, ...]] = {}
    gates: list[str] = []
    for name, others in shape.items():
        found[name] = tuple(dict.fromkeys([*others, *gates]))
        if name == NodeId.DATA_GATE:
            gates.append(name)
        for placed in own.behind(name):
            sources = [node for node, _ in placed.inputs.values()]
            found[placed.own.id] = tuple(dict.fromkeys([placed.own.after, *sources, *gates]))
            if placed.is_gate:
                gates.append(placed.own.id)
    own.finish()
    return found
