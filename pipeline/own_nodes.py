"""Nodes of a project's own: their components, their inputs, and their place in the pipeline.

A component is any TFX component that runs in Python: a class with `SPEC_CLASS`, or a function under
TFX's `@component`. It is imported as `train.module` is, with the project's folder on the path.

A component's inputs are wired by name where `with` has `Node.output`, and otherwise to the one
output of its artifact type among the nodes before it; of several, to the one of the input's name.
One that leaves a `GateVerdict` is a gate: what comes behind it is skipped if that blocks.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import importlib.machinery
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordain.common.node_id import NodeId
from ordain.config.own_nodes import OwnNode
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.pipeline.preload import loading_tfx, project_on_path
from ordain.project.source import fingerprint, library_versions

DOCS = "docs/own-nodes.md"
#: Outputs of the pipeline's nodes, by their artifact types. Resolvers (AnalyzerCache, BaseModel,
#: Baseline, Stable) make nothing: what they find may be nothing, so no input is wired to them.
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
#: Artifact type of a gate's answer.
VERDICT_TYPE = "GateVerdict"
#: Execution property that brings a component's source into its cache key.
SOURCE_PROPERTY = "source_fingerprint"


@dataclass(frozen=True)
class Input:
    """An input of a component: the name of its artifact type, and whether it may be left out."""

    type: str
    is_optional: bool


@dataclass(frozen=True)
class Placed:
    """A node of one's own in its place.

    Attributes:
        own: Its entry in the configuration.
        key: The key of that entry, for messages.
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
        """The component, under the node's id.

        Args:
            inputs: Channels by input name.

        Raises:
            ConfigError: The component does not take these arguments.
        """
        rest = {k: v for k, v in self.own.arguments.items() if k not in inputs}
        try:
            return self.component(**inputs, **rest).with_id(self.own.id)
        except Exception as error:
            raise ConfigError(
                f"{self.key}.with: {self.own.component} does not take it: {error}",
                f"it takes {', '.join(_arguments(self.component)) or 'nothing'}; see {DOCS}",
            ) from error


class OwnNodes:
    """A project's own nodes, handed out while the pipeline's nodes are put in order."""

    def __init__(self, project: Project) -> None:
        """Imports the components.

        Raises:
            ConfigError: One cannot be imported, or is none.
        """
        self._project = project
        self._known: dict[str, Mapping[str, str]] = {}
        self._waiting: dict[str, tuple[str, Any]] = {}
        if project.nodes:
            with loading_tfx(), project_on_path(project.folder):
                for number, own in enumerate(project.nodes):
                    self._waiting[own.id] = (f"nodes.{number}", _load(f"nodes.{number}", own))

    def behind(self, node: str) -> Iterator[Placed]:
        """The nodes that come directly behind one, in the order of the configuration.

        Args:
            node: The node that was put in order last.

        Raises:
            ConfigError: An input cannot be wired, or a gate stands where nothing is left to stop.
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
        """Refuses nodes that stand behind no node of the pipeline.

        Raises:
            ConfigError: Names the first one.
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
        placed = Placed(own, key, component, wire(key, own, wanted, self._known), outputs)
        if placed.is_gate and NodeId.PUSHER in self._known:
            raise ConfigError(
                f"{key}.after: {own.id} is a gate and stands behind Pusher, where the model is "
                "published already",
                "place it before, such as after: Evaluator",
            )
        return placed


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
        ConfigError: Names the input, and what there is.
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


def component_fingerprint(project: Project, own: OwnNode) -> str:
    """SHA-256 of a component's source, for its cache key.

    Of a component in the project's folder it is that of the project; of any other one the Python
    files of its package and the versions of the libraries.

    Raises:
        ConfigError: There is no such module.
    """
    module, _ = own.module_and_name
    with project_on_path(project.folder):
        root = _root_of(module)
    if root is None:
        raise ConfigError(f"component {own.component}: there is no module {module!r}")
    if root.is_relative_to(project.folder):
        return fingerprint(project.folder)
    return _package_fingerprint(root)


@functools.cache
def _package_fingerprint(root: Path) -> str:
    versions = [f"{name}=={version}" for name, version in library_versions().items()]
    digest = hashlib.sha256("\n".join(versions).encode())
    for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
        content = path.read_bytes()
        digest.update(f"\n{path.relative_to(root)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _root_of(module: str) -> Path | None:
    """The file or the folder of a module's outermost regular package; nothing is imported."""
    importlib.invalidate_caches()
    path = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}".lstrip(".")
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None:
            return None
        if spec.origin is not None:
            file = Path(spec.origin)
            return file.parent if spec.submodule_search_locations is not None else file
        path = spec.submodule_search_locations
    return None


def _load(key: str, own: OwnNode) -> Any:
    """Imports a component's class."""
    from tfx.dsl.components.base import base_component, executor_spec  # noqa: PLC0415  TFX comes late

    module, name = own.module_and_name
    try:
        loaded = importlib.import_module(module)
        found = getattr(loaded, name, None)
    except Exception as error:
        raise ConfigError(
            f"{key}.component {own.component}: importing {module} failed: "
            f"{type(error).__name__}: {error}",
            "correct the module, or install the package that it is in",
        ) from error
    if found is None:
        near = difflib.get_close_matches(name, dir(loaded), n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{key}.component {own.component}: {module} has no {name!r}{meant}")
    if not (inspect.isclass(found) and issubclass(found, base_component.BaseComponent)):
        raise ConfigError(
            f"{key}.component {own.component}: is no TFX component",
            "name a class with SPEC_CLASS and EXECUTOR_SPEC, or put TFX's @component above the "
            f"function; see {DOCS}",
        )
    if not isinstance(found.EXECUTOR_SPEC, executor_spec.ExecutorClassSpec):
        raise ConfigError(
            f"{key}.component {own.component}: runs in a container of its own, which the nodes "
            "of ordain do not",
            "name a component whose executor is a Python class",
        )
    return found


def _arguments(component: Any) -> list[str]:
    """Names that a component's constructor takes."""
    spec = component.SPEC_CLASS
    given = inspect.signature(component.__init__).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in given):
        return sorted([*spec.INPUTS, *spec.PARAMETERS])
    return [parameter.name for parameter in given if parameter.name != "self"]
