"""Base class of the configuration's sections, and the types that several of them share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from ordain.common.env_references import has_reference, is_reference

Policy = Literal["pass", "warn", "block"]


@dataclass(frozen=True)
class Shown:
    """Type or default shown in docs/configuration.md where the annotation does not describe it.

    Attributes:
        type: In place of the rendered annotation.
        default: In place of the model's default, for one that depends on other keys.
    """

    type: str = ""
    default: str = ""


#: A reason that is recorded. Blanks do not count.
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3),
    Shown("a reason of at least 3 characters"),
]
ScalarValue = Annotated[str | int | float | bool, Shown("text, number or boolean")]


@dataclass(frozen=True)
class Source:
    """Source of a configuration; pydantic's context while a project is validated.

    Attributes:
        folder: The project's folder, absolute; relative paths in the configuration start there.
        environment: Name of the overlay that was merged, or None.
        settings: The `--set` texts that were applied, in their order.
        effective: The merged configuration, references unresolved.
        keeps_references: Whether a text with `${env:NAME}` is accepted for any type of key.
        beside: Paths outside of `folder` that are given relative to it, found by validation.
    """

    folder: Path
    environment: str | None
    settings: tuple[str, ...]
    effective: Mapping[str, Any]
    keeps_references: bool = False
    beside: list[Path] = field(default_factory=list)


def absolute_path(path: Path, info: ValidationInfo) -> Path:
    """A path of the configuration as an absolute one; `~` is the home folder."""
    source: Source | None = info.context
    # Without a source it is a default, which is validated again as a part of its project.
    if source is None or (source.keeps_references and has_reference(str(path))):
        return path
    given = path.expanduser()
    found = Path(os.path.normpath(source.folder / given))
    if not given.is_absolute() and not found.is_relative_to(source.folder):
        source.beside.append(found)
    return found


ProjectPath = Annotated[Path, AfterValidator(absolute_path)]


class Section(BaseModel):
    """A frozen part of the configuration that refuses unknown keys.

    The docstring of each attribute is its meaning in docs/configuration.md
    (`tools/config_tables.py`).
    """

    # A default section is validated again as a part of its project, which makes paths absolute.
    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, revalidate_instances="always"
    )
    #: Whether `${env:NAME}` may stand for a value of any type in this section.
    has_references: ClassVar[bool] = True

    @field_validator("*", mode="wrap")
    @classmethod
    def _keep_reference(
        cls, value: object, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        # `steps: ${env:STEPS}` is a text until it is resolved.
        try:
            found = handler(value)
            if isinstance(value, bool) and not isinstance(found, bool):
                # pydantic converts true to 1, and `min: yes` is a mistake.
                raise ValueError(f"must be a number, not {str(value).lower()}")
            return found
        except ValidationError as error:
            is_kept = cls.has_references and info.context and info.context.keeps_references
            if is_kept and has_reference(value):
                # A rule of our own, such as "holds no password", is about the text around a
                # reference; it does not apply where there is none.
                own = any(detail["type"] == "value_error" for detail in error.errors())
                if not own or is_reference(value):
                    return value
            raise
