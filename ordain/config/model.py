"""The sections `train`, `tune` and `evaluate`: how a model is made and what it has to reach."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, field_validator, model_validator

from ordain.config.base import ProjectPath, Reason, ScalarValue, Section
from ordain.config.metrics import Metric

#: Reserved slice key under which examples are evaluated by the data span they came from.
SPAN_SLICE = "span"


class Train(Section):
    """Training: steps, and whatever the project's own `run_fn` wants to be told."""

    module: ProjectPath = Path("model.py")
    steps: Annotated[int, Field(ge=1)] = 1000
    eval_steps: Annotated[int, Field(ge=1)] = 100
    parameters: dict[str, ScalarValue] = Field(default_factory=dict)
    #: `served`: `run_fn` gets the served model to go on from (`fn_args.base_model`).
    base_model: Literal["served"] | None = None


class Tune(Section):
    """Hyperparameter search with KerasTuner before training; needs `tuner_fn`."""

    steps: Annotated[int, Field(ge=1)] = 200
    eval_steps: Annotated[int, Field(ge=1)] = 50


class Limit(Section):
    """Limits on one metric.

    `min` and `max` bound the candidate's own value; `max_drop` and `max_rise` bound, in the
    metric's own unit, how much worse than the baseline it may be. A slice with fewer rows than
    `min_rows` is not judged; `undefined` says what becomes of that, and of a metric without a
    value: None blocks, but only warns on each slice of a column.
    """

    # Finite: no value is below -inf or on the wrong side of NaN, so these would limit nothing.
    min: FiniteFloat | None = None
    max: FiniteFloat | None = None
    max_drop: Annotated[FiniteFloat, Field(ge=0)] | None = None
    max_rise: Annotated[FiniteFloat, Field(ge=0)] | None = None
    min_rows: Annotated[int, Field(ge=1)] | None = None
    undefined: Literal["block", "warn", "skip"] | None = None

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
        """Whether it limits nothing."""
        return self.min is self.max is self.max_drop is self.max_rise is None

    @property
    def policy(self) -> dict[str, str | int]:
        """Policy for slices that cannot be judged, as the Evaluator takes it."""
        said = {"undefined": self.undefined, "min_rows": self.min_rows}
        return {name: value for name, value in said.items() if value is not None}


class SliceLimit(Limit):
    """Limits on one metric over slices: every slice of `keys`, or the one of `values`."""

    keys: tuple[str, ...] = ()
    values: dict[str, ScalarValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_a_slice(self) -> SliceLimit:
        if bool(self.keys) == bool(self.values):
            raise ValueError("needs either keys or values")
        return self


class Threshold(Limit):
    """Limits on one metric: over the whole window, the newest span, and slices."""

    newest: Limit | None = None
    slices: tuple[SliceLimit, ...] = ()

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All limits: the whole window's, the newest span's if there is one, the slices'."""
        return (self, *((self.newest,) if self.newest is not None else ()), *self.slices)


class NoBaseline(Section):
    """Evaluate without a baseline, for a reason that is recorded."""

    none: Reason


class Evaluate(Section):
    """Metrics, slices, and the thresholds a model has to pass."""

    metrics: tuple[Metric, ...] = (Metric.model_validate({"class": "ExampleCount"}),)
    slices: tuple[tuple[str, ...], ...] = ()
    thresholds: dict[str, Threshold]
    baseline: Literal["stable", "latest"] | Annotated[int, Field(ge=1)] | NoBaseline = "stable"

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
        # TFX's Evaluator without thresholds neither blesses nor rejects, and says nothing.
        if all(limit.is_empty for limit in limits):
            raise ValueError(
                "thresholds limits nothing, so no model could ever be blessed or rejected; "
                "give at least one, such as thresholds: {auc: {min: 0.7}}"
            )
        return self


def _words(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
