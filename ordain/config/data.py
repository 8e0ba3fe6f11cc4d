"""The section `data`: where the data is, its spans, and how its rows are split."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ordain.config.base import ProjectPath, Section


class Split(Section):
    """How rows go to train or to eval: by a hash, so that a row keeps its side for ever.

    With `by`, all rows that share the column's value stay together; without, each row is
    hashed on its own. `train` and `eval` are shares of the hash buckets (2 and 1: two thirds).
    """

    by: str | None = None
    train: Annotated[int, Field(ge=1)] = 2
    eval: Annotated[int, Field(ge=1)] = 1


class Data(Section):
    """Where the data is, and which of it a run takes."""

    path: ProjectPath
    pattern: str = "*"
    format: Literal["csv", "parquet", "tfrecord"] | None = None
    window: Annotated[int, Field(ge=1, le=1000)] = 1
    label: str
    unlabelled: Literal["block", "drop"] = "block"
    split: Split = Split()

    @field_validator("pattern")
    @classmethod
    def _relative(cls, value: str) -> str:
        if value.startswith("/") or ".." in value.split("/"):
            raise ValueError("must be relative to data.path, without '..'")
        dates = [spec for spec in ("{YYYY}", "{MM}", "{DD}") if spec in value]
        if dates and len(dates) != 3:
            raise ValueError("a date pattern needs all of {YYYY}, {MM} and {DD}")
        if dates and "{SPAN" in value:
            raise ValueError("holds both {SPAN} and a date; a span is one or the other")
        twice = [s for s in ("{SPAN", "{VERSION", "{YYYY}", "{MM}", "{DD}") if value.count(s) > 1]
        if twice:
            raise ValueError(f"holds {twice[0]} more than once")
        if "{VERSION" in value and "{SPAN" not in value and not dates:
            raise ValueError("{VERSION} needs {SPAN} or a date beside it")
        return value

    @property
    def has_spans(self) -> bool:
        """Whether the pattern tells spans apart; without, all files are span 0."""
        return "{SPAN" in self.pattern or "{YYYY}" in self.pattern
