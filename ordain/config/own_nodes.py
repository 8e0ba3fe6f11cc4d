"""The section `nodes`: a project's own components in the pipeline."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from ordain.common.node_id import NodeId
from ordain.config.base import Section, Shown

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"


class OwnNode(Section):
    """A TFX component after a node of the pipeline; see docs/own-nodes.md."""

    has_references: ClassVar[bool] = False

    after: str
    """The node that it follows: one of the pipeline's, or one listed before."""
    component: Annotated[
        str, Field(pattern=rf"^{_NAME}(\.{_NAME})*:{_NAME}$"), Shown("`module:Name`")
    ]
    """The component, as `module:Name`."""
    name: Annotated[
        Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")] | None,
        Shown("text, at most 40 characters"),
    ] = Field(default=None, alias="id")
    """The node's id; by default the component's name."""
    arguments: Annotated[dict[str, Any], Shown("map")] = Field(default_factory=dict, alias="with")
    """Inputs as `Node.output`, and parameters."""

    @property
    def id(self) -> str:
        """The node's id."""
        return self.name or self.module_and_name[1]

    @property
    def module_and_name(self) -> tuple[str, str]:
        """The module that holds the component, and its name in it."""
        module, _, name = self.component.partition(":")
        return module, name

    @field_validator("arguments")
    @classmethod
    def _holds_no_reference(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, argument in value.items():
            if "${env:" in repr(argument):
                raise ValueError(
                    f"{name} holds a reference, and ML Metadata keeps the value of each argument; "
                    "read the variable in the component"
                )
        return value


def check_ids(nodes: tuple[OwnNode, ...]) -> tuple[OwnNode, ...]:
    """Returns the section if all ids are different.

    Raises:
        ValueError: An id is that of another node.
    """
    taken: set[str] = set(NodeId)
    for node in nodes:
        if node.id in taken:
            raise ValueError(f"two nodes have the id {node.id!r}; give this one another: id: NAME")
        taken.add(node.id)
    return nodes
