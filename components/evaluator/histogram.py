"""TFMA's calibration histogram, which AUC and most curves are made of, with arrays inside.

TFMA keeps an object of Python for each of up to 10,000 buckets of each slice. A year of flights
with three slices and twelve spans makes 170,000 of them, and as many again wherever they are
pickled and merged: two or three of the Evaluator's seventeen seconds. Buckets here are rows of
arrays; TFMA gets its objects when the metrics are derived, once for each slice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ordain.components.evaluator import tfma_internals as inside


class Buckets:
    """The buckets of one slice.

    Attributes:
        ids: Their numbers, ascending, `[n] int64`.
        sums: Labels, predictions and 1, each times the weight and added up, `[n, 3] float64`.
        loose: What was added example by example since, as TFMA has it.
    """

    __slots__ = ("ids", "loose", "sums")

    def __init__(self, ids: Any, sums: Any, loose: dict[int, Any] | None = None) -> None:
        """Takes the attributes."""
        self.ids = ids
        self.sums = sums
        self.loose = {} if loose is None else loose


def together(parts: Iterable[Buckets]) -> Buckets:
    """Buckets of the same number added up, in the order of the parts; a part's may be in any."""
    ids, sums = [np.empty(0, np.int64)], [np.empty((0, 3))]
    for part in parts:
        ids += [part.ids, np.array(list(part.loose), np.int64)]
        sums += [part.sums, np.array([_sums(b) for b in part.loose.values()]).reshape(-1, 3)]
    unique, where = np.unique(np.concatenate(ids), return_inverse=True)
    columns = np.concatenate(sums).T
    added = [np.bincount(where, weights=column, minlength=len(unique)) for column in columns]
    return Buckets(unique, np.stack(added, axis=1))


class HistogramCombiner(inside.CalibrationHistogram):
    """TFMA's combiner, with `Buckets` for accumulators."""

    def __init__(self, combiner: Any) -> None:
        """Takes the combiner that TFMA made."""
        self.__dict__.update(vars(combiner))

    def create_accumulator(self) -> Buckets:
        """Of no rows."""
        return together([])

    def add_input(self, accumulator: Buckets, element: Any) -> Buckets:
        """Adds one example as TFMA does."""
        super().add_input(accumulator.loose, element)
        return accumulator

    def add_rows(self, accumulator: Buckets, label: Any, prediction: Any, weight: Any) -> Buckets:
        """Adds rows at once: three arrays `[rows] float64`."""
        value = prediction if self._prediction_based_bucketing else label
        last = self._num_buckets + 1
        place = (value - self._left) / self._range * self._num_buckets + 1
        ids = np.clip(place, 0, last).astype(np.int64)
        sums = np.stack([label * weight, prediction * weight, weight], axis=1)
        return together([accumulator, Buckets(ids, sums)])

    def merge_accumulators(self, accumulators: Iterable[Buckets]) -> Buckets:
        """Of all rows together."""
        return together(accumulators)

    def compact(self, accumulator: Buckets) -> Buckets:
        """With nothing loose, as it takes least to pickle."""
        return together([accumulator])

    def extract_output(self, accumulator: Buckets) -> dict[Any, Any]:
        """TFMA's buckets by the metric's key."""
        whole = together([accumulator])
        rows = zip(whole.ids.tolist(), whole.sums.tolist(), strict=True)
        return super().extract_output({number: inside.Bucket(number, *row) for number, row in rows})


def with_arrays(combiner: Any) -> Any:
    """The combiner, or the one above in the place of TFMA's own."""
    # A subclass may add in its own way, so the type has to be exactly the known one.
    is_known = type(combiner) is inside.CalibrationHistogram
    return HistogramCombiner(combiner) if is_known else combiner


def _sums(bucket: Any) -> tuple[float, float, float]:
    return bucket.weighted_labels, bucket.weighted_predictions, bucket.weighted_examples
