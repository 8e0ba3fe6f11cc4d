"""An entry of `evaluate.metrics`: a class of TFMA or Keras, its settings, and its name.

What may stand beside the keys declared here is up to the class, and checked by
`ordain.config.metric_settings`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, FiniteFloat, model_validator

from ordain.config.base import Section

_Position = Annotated[int, Field(ge=1)]
_Class = Annotated[int, Field(ge=0)]
_AVERAGES = ("micro_average", "macro_average", "weighted_macro_average")


class Binarize(Section):
    """TFMA's BinarizationOptions: one value for each class, or for each place of the ranking."""

    class_ids: tuple[_Class, ...] = ()
    k_list: tuple[_Position, ...] = ()
    top_k_list: tuple[_Position, ...] = ()

    @model_validator(mode="after")
    def _names_something(self) -> Binarize:
        if not (self.class_ids or self.k_list or self.top_k_list):
            raise ValueError("needs class_ids, k_list or top_k_list")
        return self


class Aggregate(Section):
    """TFMA's AggregationOptions: one value over several classes."""

    micro_average: bool = False
    macro_average: bool = False
    weighted_macro_average: bool = False
    class_weights: dict[_Class, Annotated[FiniteFloat, Field(ge=0)]] = Field(default_factory=dict)
    top_k_list: tuple[_Position, ...] = ()

    @model_validator(mode="after")
    def _is_one_kind(self) -> Aggregate:
        if sum(getattr(self, kind) is True for kind in _AVERAGES) != 1:
            raise ValueError(
                "needs one of micro_average, macro_average and weighted_macro_average: true"
            )
        if self.class_weights and self.top_k_list:
            raise ValueError("has both class_weights and top_k_list; TFMA knows one of them")
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
    """A metric and its settings; a bare class name stands for one with default settings."""

    # Settings of the class are keys beside these. A default is not validated again: pydantic
    # would look for `class` in an instance, which has `class_name`.
    model_config = ConfigDict(extra="allow", revalidate_instances="never")

    class_name: Annotated[str, Field(alias="class")]
    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")] | None = None
    binarize: Binarize | None = None
    aggregate: Aggregate | None = None
    query_key: Annotated[str, Field(min_length=1)] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the class that differ from its defaults, by name."""
        return dict(self.model_extra or {})
