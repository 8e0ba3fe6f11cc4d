"""A project's own nodes: their components, inputs, and places in the pipeline.

A component is any TFX component that runs in Python: a class with `SPEC_CLASS`, or a function under
TFX's `@component`. It is imported as `train.module` is, with the project's folder on the path.

An input is wired to the `Node.output` that `with` names, otherwise to the only output of its
artifact type among the nodes before it, or, of several, to the one with the input's name. A
component with a `GateVerdict` among its outputs is a gate: nodes behind it are skipped if it
blocks.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ordain.common.node_id import NodeId
from ordain.config.own_nodes import OwnNode
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.pipeline.own_components import (
    DOCS,
    arguments_of,
    load_component,
)
from ordain.project.imports import project_on_path
from ordain.upstream.tfx_imports import loading_tfx

#: Outputs of the pipeline's nodes, by their artifact types. Resolvers (AnalyzerCache, BaseModel,
#: Baseline, Stable) may find nothing, so no input is wired to them.
OUTPUTS: Mapping[NodeId, Mapping[str, str]] = {
    NodeId.EXAMPLE_GEN: {"examples": "Examples"},
    NodeId.STATISTICS_GEN: {"statistics": "ExampleStatistics"},
    NodeId.SCHEMA_GEN: {"schema": "Schema"},
    NodeId.EXAMPLE_VALIDATOR: {"anomalies": "ExampleAnomalies"},
    NodeId.DATA_GATE: {"verdict": "GateVerdict"},
    NodeId.TRANSFORM: {
        "transform_graph": "TransformGraph",
        "transformed_examples": "Examples",
        "updated_analyzer_cache": "TransformCache",
    },
    NodeId.TUNER: {"best_hyperparameters": "HyperParameters", "tuner_results": "TunerResults"},
    NodeId.TRAINER: {"model": "Model", "model_run": "ModelRun"},
    NodeId.EVALUATOR: {"blessing": "ModelBlessing", "evaluation": "ModelEvaluation"},
    NodeId.SERVER_GATE: {"blessing": "InfraBlessing"},
    NodeId.PUSHER: {"pushed_model": "PushedModel"},
}
#: Artifact type of a gate's verdict.
VERDICT_TYPE = "GateVerdict"
#: Execution property that brings a component's source into its cache key.
SOURCE_PROPERTY = "component_fingerprint"


@dataclass(frozen=True)
class Input:
    """An input of a component: the name of its artifact type, and whether it is optional."""

    type: str
    is_optional: bool


@dataclass(frozen=True)
class Placed:
    """An own node with its wiring.

    Attributes:
        own: Its configuration.
        key: Its configuration key, for messages.
        component: The component's class.
        inputs: Node and output by input name.
        outputs: Artifact types by output name.
    """

    own: OwnNode
    key: str
    component: Any
    inputs: Mapping[str, tuple[str, str]]
    outputs: Mapping[str, str]

    @property
    def is_gate(self) -> bool:
        """True if the nodes behind it wait for its verdict."""
        return VERDICT_TYPE in self.outputs.values()

    def make(self, inputs: Mapping[str, Any]) -> Any:
        """Makes the component, with the node's id.

        Args:
            inputs: Channels by input name.

        Raises:
            ConfigError: The component does not take these arguments.
        """
        rest = {k: v for k, v in self.own.arguments.items() if k not in inputs}
        try:
            return self.component(**inputs, **rest).with_id(self.own.id)
        except (Exception, SystemExit) as error:
            raise ConfigError(
                f"{self.key}.with: {self.own.component} does not take it: {error}",
                f"it takes {', '.join(arguments_of(self.component)) or 'nothing'}; see {DOCS}",
            ) from error


class OwnNodes:
    """A project's own nodes, placed while the pipeline's nodes are listed in order."""

    def __init__(self, project: Project) -> None:
        """Imports the components.

        Raises:
            ConfigError: One cannot be imported, or is not a component.
        """
        self._project = project
        self._known: dict[str, Mapping[str, str]] = {}
        self._waiting: dict[str, tuple[str, Any]] = {}
        if project.nodes:
            with loading_tfx(), project_on_path(project.folder):
                for number, own in enumerate(project.nodes):
                    self._waiting[own.id] = (
                        f"nodes.{number}",
                        load_component(f"nodes.{number}", own),
                    )

    def behind(self, node: str) -> Iterator[Placed]:
        """Yields the nodes directly behind one, in the order of the configuration.

        Args:
            node: The node that was listed last.

        Raises:
            ConfigError: An input cannot be wired, or a gate stands behind Pusher.
        """
        if node in OUTPUTS:
            self._known[node] = OUTPUTS[NodeId(node)]
        elif node not in self._known:  # a resolver
            return
        for own in self._project.nodes:
            if own.after == node and own.id in self._waiting:
                placed = self._place(own)
                self._known[own.id] = placed.outputs
                yield placed
                yield from self.behind(own.id)

    def finish(self) -> None:
        """Checks that every own node has been placed.

        Raises:
            ConfigError: `after` of a node does not name a node with outputs.
        """
        own = next((own for own in self._project.nodes if own.id in self._waiting), None)
        if own is None:
            return
        key, _ = self._waiting[own.id]
        near = difflib.get_close_matches(own.after, list(self._known), n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"{key}.after: the pipeline has no node {own.after!r} that leaves something{meant}",
            f"there are {', '.join(self._known)}",
        )

    def _place(self, own: OwnNode) -> Placed:
        key, component = self._waiting.pop(own.id)
        spec = component.SPEC_CLASS
        outputs = {name: channel.type.TYPE_NAME for name, channel in spec.OUTPUTS.items()}
        wanted = {
            name: Input(channel.type.TYPE_NAME, bool(channel.optional))
            for name, channel in spec.INPUTS.items()
        }
        for name in (name for name in wanted if name.startswith("_")):
            raise ConfigError(
                f"{key}: {own.component} has an input {name!r}; TFX leaves inputs that begin with "
                "an underscore out of the cache key",
                "rename it in the component",
            )
        placed = Placed(own, key, component, wire(key, own, wanted, self._known), outputs)
        if placed.is_gate:
            self._check_gate(placed)
        return placed

    def _check_gate(self, gate: Placed) -> None:
        key, own = gate.key, gate.own
        if NodeId.PUSHER in self._known:
            raise ConfigError(
                f"{key}.after: {own.id} is a gate and stands behind Pusher, where the model is "
                "published already",
                "place it before, such as after: Evaluator",
            )
        if not gate.inputs:
            raise ConfigError(
                f"{key}: {own.id} is a gate without inputs, so that its first verdict would be "
                "cached for every later model",
                "give it what it judges, such as an input of type Model behind Trainer",
            )
        if list(gate.outputs.values()).count(VERDICT_TYPE) > 1:
            raise ConfigError(
                f"{key}: {own.component} has more than one output of type {VERDICT_TYPE}",
                "a gate has one verdict, with a reason for each check",
            )


def wire(
    key: str, own: OwnNode, wanted: Mapping[str, Input], known: Mapping[str, Mapping[str, str]]
) -> dict[str, tuple[str, str]]:
    """Finds the outputs that a node's inputs take.

    Args:
        key: The configuration's key of the node.
        own: The node.
        wanted: The component's inputs.
        known: Outputs of the nodes before it: artifact types by name.

    Returns:
        Node and output by input name; optional inputs are wired only where `with` names them.

    Raises:
        ConfigError: An input cannot be wired; names it, and the outputs that exist.
    """
    found = {}
    for name, needed in wanted.items():
        there = [
            (node, output)
            for node, outputs in known.items()
            for output, kind in outputs.items()
            if kind == needed.type
        ]
        listed = ", ".join(".".join(pair) for pair in there) or "none"
        given = own.arguments.get(name)
        if given is not None:
            node, _, output = str(given).partition(".")
            if (node, output) not in there:
                raise ConfigError(
                    f"{key}.with.{name}: {given!r} is no output of type {needed.type} of a node "
                    f"before {own.id}",
                    f"there are: {listed}",
                )
            found[name] = (node, output)
            continue
        if needed.is_optional:
            continue
        named = [pair for pair in there if pair[1] == name]
        chosen = there if len(there) == 1 else named
        if len(chosen) != 1:
            raise ConfigError(
                f"{key}: {own.component} needs the input {name!r} of type {needed.type}; of the "
                f"nodes before it these have one: {listed}",
                f"name one in {key}.with, as {name}: Node.output; see {DOCS}",
            )
        found[name] = chosen[0]
    return found
