"""The sections `train`, `tune` and `evaluate`: training and the thresholds for a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, field_validator, model_validator

from ordain.config.base import ProjectPath, Reason, ScalarValue, Section, Shown
from ordain.config.metrics import Metric

#: Reserved slice key: the data span that an example came from.
SPAN_SLICE = "span"


class Train(Section):
    """Training: the module, its steps and its parameters."""

    module: ProjectPath = Path("model.py")
    """Module with `preprocessing_fn` and `run_fn`; see docs/model.md."""
    steps: Annotated[int, Field(ge=1)] = 1000
    """`fn_args.train_steps`."""
    eval_steps: Annotated[int, Field(ge=1)] = 100
    """`fn_args.eval_steps`."""
    parameters: dict[str, ScalarValue] = Field(default_factory=dict)
    """`fn_args.custom_config["parameters"]`."""
    base_model: Literal["served"] | None = None
    """Warm start: `fn_args.base_model` is the served model; see docs/model.md#warm-start."""


class Tune(Section):
    """Hyperparameter search with KerasTuner before training; needs `tuner_fn`."""

    steps: Annotated[int, Field(ge=1)] = 200
    """`fn_args.train_steps` of a trial."""
    eval_steps: Annotated[int, Field(ge=1)] = 50
    """`fn_args.eval_steps` of a trial."""


class Limit(Section):
    """Limits on one metric."""

    # Finite: no value is below -inf or on the wrong side of NaN, so these would limit nothing.
    min: FiniteFloat | None = None
    """Lower bound of the candidate's value. Not above `max`."""
    max: FiniteFloat | None = None
    """Upper bound of the candidate's value."""
    max_drop: Annotated[FiniteFloat, Field(ge=0)] | None = None
    """Largest drop below the baseline's value, in the metric's unit."""
    max_rise: Annotated[FiniteFloat, Field(ge=0)] | None = None
    """Largest rise above the baseline's value. Not together with `max_drop`."""
    min_rows: Annotated[int, Field(ge=1)] | None = None
    """A slice with fewer rows is not judged. Needs a limit beside it."""
    undefined: Annotated[
        Literal["block", "warn", "skip"] | None,
        Shown("`block`, `warn`, `skip`", "`block`; `warn` for slices of `keys`"),
    ] = None
    """Policy for a limit that cannot be judged: too few rows, or no value of the metric or of the
    baseline. Needs a limit beside it."""

    @model_validator(mode="after")
    def _one_direction(self) -> Limit:
        if self.max_drop is not None and self.max_rise is not None:
            raise ValueError("has both max_drop and max_rise; a metric has one good direction")
        # Either is a text while references are not looked up.
        least, most = self.min, self.max
        if isinstance(least, float) and isinstance(most, float) and least > most:
            raise ValueError(f"min {least} is above max {most}")
        about = [name for name in ("min_rows", "undefined") if getattr(self, name) is not None]
        if about and self.is_empty:
            raise ValueError(
                f"has {' and '.join(about)} without a limit beside it; each limit has its own: "
                "write it next to min, max, max_drop or max_rise"
            )
        return self

    @property
    def is_empty(self) -> bool:
        """True if it limits nothing."""
        return self.min is self.max is self.max_drop is self.max_rise is None

    @property
    def policy(self) -> dict[str, str | int]:
        """Policy for slices that cannot be judged, as the Evaluator takes it."""
        policy = {"undefined": self.undefined, "min_rows": self.min_rows}
        return {name: value for name, value in policy.items() if value is not None}


class SliceLimit(Limit):
    """Limits on one metric over slices: every slice of `keys`, or the one of `values`."""

    keys: Annotated[tuple[str, ...], Shown("list of columns")] = ()
    """Every slice of these columns. An entry has either `keys` or `values`."""
    values: Annotated[dict[str, ScalarValue], Shown("map of column to value")] = Field(
        default_factory=dict
    )
    """The one slice with these values."""

    @model_validator(mode="after")
    def _names_a_slice(self) -> SliceLimit:
        if bool(self.keys) == bool(self.values):
            raise ValueError("needs either keys or values")
        return self


class Threshold(Limit):
    """Limits on one metric: over the whole window, the newest span, and slices."""

    newest: Limit | None = None
    """The keys above, for the newest span alone."""
    slices: tuple[SliceLimit, ...] = ()
    """Limits on slices: the keys above, and those of the next table."""

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All limits: the whole window's, the newest span's if there is one, the slices'."""
        return (self, *((self.newest,) if self.newest is not None else ()), *self.slices)


class NoBaseline(Section):
    """Evaluate without a baseline, for a reason that is recorded."""

    none: Reason
    """Why there is no baseline."""


class Evaluate(Section):
    """Metrics, slices, and the thresholds a model has to pass."""

    metrics: Annotated[
        tuple[Metric, ...], Shown("list of class names, or of keys", "`[ExampleCount]`")
    ] = (Metric.model_validate({"class": "ExampleCount"}),)
    """Metrics of TFMA or Keras; see docs/evaluation.md#metrics."""
    slices: Annotated[
        tuple[tuple[str, ...], ...], Shown("list of columns, or of lists of columns")
    ] = ()
    """One slice for each value of a column, or for each combination of the columns of an inner
    list."""
    thresholds: Annotated[dict[str, Threshold], Shown("map of metric to limits")]
    """Limits by a metric's name; at least one limit in all."""
    baseline: Annotated[
        Literal["stable", "latest"] | Annotated[int, Field(ge=1)] | NoBaseline,
        Shown("`stable`, `latest`, a version, or `{none: reason}`"),
    ] = "stable"
    """Version that a candidate is compared with: the one labelled `stable`, the newest published,
    or the one of that number; see docs/evaluation.md#the-baseline. The reason has at least three
    characters."""

    @field_validator("metrics", mode="before")
    @classmethod
    def _bare_names(cls, value: object) -> object:
        if isinstance(value, list):
            return [{"class": entry} if isinstance(entry, str) else entry for entry in value]
        return value

    @field_validator("baseline", mode="before")
    @classmethod
    def _names_a_version(cls, value: object) -> object:
        is_version = not isinstance(value, bool) and re.fullmatch("[1-9][0-9]*", str(value))
        if is_version or value in ("stable", "latest") or isinstance(value, NoBaseline):
            return value
        if isinstance(value, Mapping) and ("none" not in value or len(_words(value["none"])) > 2):
            return value
        raise ValueError(
            f"is {value!r}; it takes stable, latest, a version's number, or {{none: REASON}} with "
            "a reason of at least 3 characters"
        )

    @field_validator("slices", mode="before")
    @classmethod
    def _single_keys(cls, value: object) -> object:
        if isinstance(value, list):
            return [[entry] if isinstance(entry, str) else entry for entry in value]
        return value

    @model_validator(mode="after")
    def _has_thresholds(self) -> Evaluate:
        limits = (limit for threshold in self.thresholds.values() for limit in threshold.limits)
        # Without thresholds TFX's Evaluator neither blesses nor rejects, without an error.
        if all(limit.is_empty for limit in limits):
            raise ValueError(
                "thresholds limits nothing, so no model could ever be blessed or rejected; "
                "give at least one, such as thresholds: {auc: {min: 0.7}}"
            )
        return self


def _words(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
