"""The shape of a project's chain: its nodes, and which waits for which.

`ordain.pipeline.graph` builds the chain itself, for which TFX has to be imported and every value of
the configuration has to be known. Who only wants its shape, such as the compiler for Kubeflow,
finds it here; a test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping

from ordain.common.node_id import NodeId
from ordain.config.model import NoBaseline
from ordain.config.project import Project
from ordain.pipeline.own_nodes import OwnNodes
from ordain.serving.registry.label_file import STABLE

#: Node id -> the nodes that it waits for; a node stands behind all of those.
Shape = Mapping[str, tuple[str, ...]]


def chain_of(project: Project) -> Shape:
    """A project's nodes in an order in which they can run, each with what it waits for.

    Equal, but for the order, to the `upstream_nodes` of the IR that `graph.compile_ir` makes.

    Args:
        project: The project; its references need not be resolved.

    Raises:
        ConfigError: A node of the project's own cannot be imported or wired; TFX is imported for
            these only.
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
    # All that follow stand under the condition on the data gate's verdict, and so wait for it.
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
    judged = [*data, NodeId.TRAINER]
    if not isinstance(project.evaluate.baseline, NoBaseline):
        shape[NodeId.BASELINE] = (NodeId.DATA_GATE, NodeId.TRAINER)
        judged.append(NodeId.BASELINE)
    shape[NodeId.EVALUATOR] = tuple(judged)
    pushed = [*data, NodeId.TRAINER, NodeId.EVALUATOR]
    server = project.gate.server
    if server.none is None:
        asked: tuple[str, ...] = ()
        if server.compares_signatures:
            stable = NodeId.BASELINE if project.evaluate.baseline == STABLE else NodeId.STABLE
            shape.setdefault(stable, (NodeId.DATA_GATE, NodeId.TRAINER))
            asked = (NodeId.EXAMPLE_GEN, stable)
        shape[NodeId.SERVER_GATE] = (*asked, NodeId.DATA_GATE, NodeId.TRAINER, NodeId.EVALUATOR)
        pushed.append(NodeId.SERVER_GATE)
    shape[NodeId.PUSHER] = tuple(pushed)
    return _with_own_nodes(project, shape) if project.nodes else shape


def _with_own_nodes(project: Project, shape: Mapping[str, tuple[str, ...]]) -> Shape:
    """A pipeline with a project's own nodes in their places; their gates hold up what follows."""
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
