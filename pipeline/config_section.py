"""What every section of the configuration is made of."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Policy = Literal["pass", "warn", "block"]
ScalarValue = str | int | float | bool


class Section(BaseModel):
    """A frozen part of the configuration that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
