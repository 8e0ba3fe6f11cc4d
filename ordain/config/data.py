"""The section `data`: location, spans, and the split of rows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ordain.config.base import ProjectPath, Section


class Split(Section):
    """Assignment of rows to train or eval by a hash, which never changes for a row."""

    by: str | None = None
    """Rows with the same value of this column go to the same split. Without it, each row is hashed
    on its own."""
    train: Annotated[int, Field(ge=1)] = 2
    """Hash buckets of the split `train`."""
    eval: Annotated[int, Field(ge=1)] = 1
    """Hash buckets of the split `eval`. 2 and 1 are two thirds and one third."""


class Data(Section):
    """Location of the data, and the part of it that a run uses."""

    path: ProjectPath
    """Folder that holds the data, local or mounted."""
    pattern: str = "*"
    """Files below `data.path`, with spans, versions and dates; see docs/data.md. Relative, without
    `..`."""
    format: Literal["csv", "parquet", "tfrecord"] | None = None
    """Format of the files. Without it, each file's name decides."""
    window: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of spans in a run, counted back from the newest."""
    label: str
    """The label's column."""
    unlabelled: Literal["block", "drop"] = "block"
    """Rows without a label block the run, or are left out and counted."""
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
        """True if the pattern distinguishes spans; otherwise all files are span 0."""
        return "{SPAN" in self.pattern or "{YYYY}" in self.pattern
