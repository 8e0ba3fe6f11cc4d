"""R2Score for TFMA: the share of the labels' variance that the predictions explain.

TFMA 0.52 takes Keras' metric of that name, which creates its variables with the first data, in
different shapes. TFMA can only copy and add variables of one shape that exist from the start, and
fails after the training. `tests/unit/components/evaluator/test_r2.py` fails when that is mended;
then this module can go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ordain.components.evaluator import tfma_internals as inside

#: Relative to the mean: labels that differ by less are equal except for rounding.
_ROUNDING = 1e-12


class Moments(NamedTuple):
    """Moments that R2 is computed from, in the label's unit and its square.

    Sums of squares are around the mean, not around 0: prices of a million that differ by one would
    lose all digits otherwise. Merged as in Chan, Golub and LeVeque (1979).
    """

    weight: float = 0.0
    mean: float = 0.0
    around_mean: float = 0.0
    errors: float = 0.0

    def __add__(self, other: object) -> Moments:
        """Moments of both sets of rows together."""
        if not isinstance(other, Moments):
            return NotImplemented
        weight = self.weight + other.weight
        if weight == 0:
            return self
        distance = other.mean - self.mean
        share = other.weight / weight
        return Moments(
            weight,
            self.mean + distance * share,
            self.around_mean + other.around_mean + distance**2 * self.weight * share,
            self.errors + other.errors,
        )


class R2Combiner(inside.OwnCombiner):
    """Labels and predictions -> `1 - errors / variance`; NaN where all labels are equal."""

    def create_accumulator(self) -> Moments:
        """Moments of no rows."""
        return Moments()

    def add_input(self, accumulator: Moments, element: Any) -> Moments:
        """Adds one example, prepared as in TFMA."""
        for found in self._prepared(element):
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
        """Merges moments."""
        return sum(accumulators, Moments())

    def extract_output(self, accumulator: Moments) -> dict[Any, float]:
        """The metric by its key."""
        weight, mean, around_mean, errors = accumulator
        varies = around_mean > weight * (_ROUNDING * mean) ** 2
        return {self._key: 1 - errors / around_mean if varies else float("nan")}


class R2Score(inside.Metric):
    """The metric, under the name that a project uses."""

    def __init__(self, name: str = "r2_score") -> None:
        """Takes the name that thresholds use."""
        super().__init__(inside.computed_by(R2Combiner), name=name)
