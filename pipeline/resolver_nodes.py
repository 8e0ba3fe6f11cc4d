"""Nodes that look something up in earlier runs or in the serving directory."""

from __future__ import annotations

from typing import Any

from tfx.dsl.components.common.resolver import Resolver
from tfx.types import Channel, standard_artifacts

from ordain.common.node_id import NodeId
from ordain.components.resolvers import BaselineModel, SeenAnalyzerCache, ServedModel
from ordain.config.project import Project


def analyzer_cache(examples: Any) -> Any:
    """The analyzer cache that Transform starts from."""
    return Resolver(
        strategy_class=SeenAnalyzerCache,
        examples=examples,
        analyzer_cache=Channel(type=standard_artifacts.TransformCache),
    ).with_id(NodeId.ANALYZER_CACHE)


def published(node: str, project: Project, model: Any, rule: str, blessing: Any) -> Any:
    """A published version, by a rule; for a cached model, the one it was compared with before.

    Args:
        node: The node's id.
        project: The project.
        model: Channel of the candidate.
        rule: See `ordain.serving.registry.served.find_served`.
        blessing: Type of the artifact that records which version the candidate was compared with.
    """
    return Resolver(
        strategy_class=BaselineModel,
        config={"directory": project.push_base, "rule": rule},
        model=model,
        model_blessing=Channel(type=blessing),
        pushed_model=Channel(type=standard_artifacts.PushedModel),
    ).with_id(node)


def served_model(project: Project, transformed: dict[str, Any]) -> Any:
    """The model that a warm start continues."""
    return Resolver(
        strategy_class=ServedModel,
        config={"directory": project.push_base},
        examples=transformed["examples"],
        transform_graph=transformed["transform_graph"],
        model=Channel(type=standard_artifacts.Model),
    ).with_id(NodeId.BASE_MODEL)
