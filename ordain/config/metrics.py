"""Entries of `evaluate.metrics`: a class of TFMA or Keras, its settings, and its name.

Further keys of an entry are settings of the class, checked by `ordain.config.metric_settings`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, FiniteFloat, model_validator

from ordain.config.base import Section, Shown

_Position = Annotated[int, Field(ge=1)]
_Class = Annotated[int, Field(ge=0)]
_AVERAGES = ("micro_average", "macro_average", "weighted_macro_average")


class Binarize(Section):
    """TFMA's BinarizationOptions: one value per class, or per position of the ranking."""

    class_ids: tuple[_Class, ...] = ()
    """One value for each of these classes."""
    k_list: tuple[_Position, ...] = ()
    """One value for each of these positions of the ranking."""
    top_k_list: tuple[_Position, ...] = ()
    """One value for the first k positions, for each k."""

    @model_validator(mode="after")
    def _is_not_empty(self) -> Binarize:
        if not (self.class_ids or self.k_list or self.top_k_list):
            raise ValueError("needs class_ids, k_list or top_k_list")
        return self


class Aggregate(Section):
    """TFMA's AggregationOptions: one value over several classes."""

    micro_average: bool = False
    """Micro average over the classes. One of the three averages has to be `true`."""
    macro_average: bool = False
    """Mean of the classes' values. Needs `class_weights` or `top_k_list`."""
    weighted_macro_average: bool = False
    """Mean of the classes' values, weighted by their share of the labels. Needs `class_weights`
    or `top_k_list`."""
    class_weights: dict[_Class, Annotated[FiniteFloat, Field(ge=0)]] = Field(default_factory=dict)
    """Classes to aggregate over, with a factor for each. Not together with `top_k_list`."""
    top_k_list: tuple[_Position, ...] = ()
    """Aggregates over the first k positions of the ranking, once for each k."""

    @model_validator(mode="after")
    def _has_one_average(self) -> Aggregate:
        if sum(getattr(self, kind) is True for kind in _AVERAGES) != 1:
            raise ValueError(
                "needs one of micro_average, macro_average and weighted_macro_average: true"
            )
        if self.class_weights and self.top_k_list:
            raise ValueError("has both class_weights and top_k_list; TFMA takes one of them")
        if not (self.micro_average or self.class_weights or self.top_k_list):
            raise ValueError(
                "a macro average is over named classes: give class_weights, such as "
                "{0: 1, 1: 1, 2: 1}, or top_k_list"
            )
        return self

    @property
    def kind(self) -> str:
        """The key that is true."""
        return next(kind for kind in _AVERAGES if getattr(self, kind))


class Metric(Section):
    """A metric and its settings; a class name alone is a metric with default settings."""

    # Further keys are settings of the class. A default is not validated again: pydantic would look
    # for `class` in an instance, which has `class_name`.
    model_config = ConfigDict(extra="allow", revalidate_instances="never")

    class_name: Annotated[str, Field(alias="class"), Shown("class name")]
    """Class of TFMA or Keras. Every further key is a parameter of the class: `thresholds`,
    `num_thresholds`, `top_k`, `class_id`, ..."""
    name: Annotated[
        Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")] | None,
        Shown("letters, digits and `_`, at most 63", "the class in lower case"),
    ] = None
    """Name in thresholds, verdicts and results."""
    binarize: Binarize | None = None
    """One value for each class or position. Needs at least one of the three lists."""
    aggregate: Aggregate | None = None
    """One value over several classes."""
    query_key: Annotated[str, Field(min_length=1), Shown("column")] | None = None
    """Computes the metric over queries: rows that share this column's value."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the class that differ from its defaults, by name."""
        return dict(self.model_extra or {})
