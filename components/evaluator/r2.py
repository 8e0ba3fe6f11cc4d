"""R2Score for TFMA: the share of the labels' variance that the predictions explain.

The trap. TFMA 0.52 hands the name to Keras, whose metric makes its variables when the first data
comes and keeps arrays beside a number. TFMA copies and adds up the variables of metrics that have
them from the beginning, all of one shape, and stops with an error after the training. A test in
`tests/unit/components/evaluator/test_r2.py` fails when it no longer does, so that this module can
go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from ordain.components.evaluator import tfma_internals as inside

#: Of the mean: labels that differ by less are equal but for rounding.
_ROUNDING = 1e-12


class Moments(NamedTuple):
    """What R2 is made of, in the label's unit and its square.

    Sums of squares are kept around the mean, not around 0: prices of a million that differ by one
    would leave no digit otherwise. Two are merged as Chan, Golub and LeVeque (1979) do.
    """

    weight: float = 0.0
    mean: float = 0.0
    around_mean: float = 0.0
    errors: float = 0.0

    def __add__(self, other: object) -> Moments:
        """The moments of both sets of rows together."""
        if not isinstance(other, Moments):
            return NotImplemented
        weight = self.weight + other.weight
        if weight == 0:
            return self
        apart = other.mean - self.mean
        share = other.weight / weight
        return Moments(
            weight,
            self.mean + apart * share,
            self.around_mean + other.around_mean + apart**2 * self.weight * share,
            self.errors + other.errors,
        )


class R2Combiner(beam.CombineFn):
    """Labels and predictions -> `1 - errors / variance`; NaN where all labels are equal."""

    def __init__(
        self,
        key: Any,
        eval_config: Any,
        aggregation_type: Any,
        class_weights: Any,
        example_weighted: bool,
    ) -> None:
        """Takes what TFMA gives a combiner; `evaluation_tfma.inputs_of` reads it back."""
        self._key = key
        self._eval_config = eval_config
        self._aggregation_type = aggregation_type
        self._class_weights = class_weights
        self._example_weighted = example_weighted

    def create_accumulator(self) -> Moments:
        """Of no rows."""
        return Moments()

    def add_input(self, accumulator: Moments, element: Any) -> Moments:
        """Adds one example, prepared as TFMA prepares it."""
        for found in inside.pairs_of_example(
            element,
            eval_config=self._eval_config,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
            aggregation_type=self._aggregation_type,
            class_weights=self._class_weights,
            example_weighted=self._example_weighted,
        ):
            columns = (np.asarray(values, np.float64).ravel() for values in found)
            accumulator = self.add_rows(accumulator, *columns)
        return accumulator

    def add_rows(self, accumulator: Moments, label: Any, prediction: Any, weight: Any) -> Moments:
        """Adds rows at once: three arrays `[rows] float64`."""
        total = float(weight.sum())
        if total == 0:
            return accumulator
        mean = float((weight * label).sum()) / total
        around_mean = float((weight * (label - mean) ** 2).sum())
        errors = float((weight * (label - prediction) ** 2).sum())
        return accumulator + Moments(total, mean, around_mean, errors)

    def merge_accumulators(self, accumulators: Iterable[Moments]) -> Moments:
        """Of all rows together."""
        return sum(accumulators, Moments())

    def extract_output(self, accumulator: Moments) -> dict[Any, float]:
        """The metric by its key."""
        weight, mean, around_mean, errors = accumulator
        varies = around_mean > weight * (_ROUNDING * mean) ** 2
        return {self._key: 1 - errors / around_mean if varies else float("nan")}


class R2Score(inside.Metric):
    """The metric, by the name under which a project asks for it."""

    def __init__(self, name: str = "r2_score") -> None:
        """Takes the name that thresholds use."""
        super().__init__(inside.merge_per_key_computations(_computations), name=name)


def _computations(
    name: str,
    eval_config: Any = None,
    model_name: str = "",
    output_name: str = "",
    sub_key: Any = None,
    aggregation_type: Any = None,
    class_weights: Any = None,
    example_weighted: bool = False,
) -> list[Any]:
    """Computations of the metric; TFMA looks at the names of the parameters."""
    key = inside.MetricKey(
        name=name,
        model_name=model_name,
        output_name=output_name,
        sub_key=sub_key,
        example_weighted=example_weighted,
    )
    combiner = R2Combiner(key, eval_config, aggregation_type, class_weights, example_weighted)
    return [inside.MetricComputation(keys=[key], preprocessors=None, combiner=combiner)]
