"""Histograms of arrays beside TFMA's, bucket by bucket, however rows come and are merged."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from ordain.components.evaluator import tfma_internals as inside
from ordain.components.evaluator.histogram import HistogramCombiner, with_arrays

ROWS = 500


def stock(is_by_prediction: bool = True) -> inside.CalibrationHistogram:
    key = inside.PlotKey("histogram")
    return inside.CalibrationHistogram(
        key, None, None, None, True, 40, 0.0, 1.0, is_by_prediction, False
    )


def rows() -> np.ndarray:
    """Labels, predictions, some of them outside of 0 to 1, and weights: `[rows, 3]`."""
    generator = np.random.default_rng(3)
    predictions = generator.normal(0.5, 0.4, ROWS)
    columns = (generator.integers(0, 2, ROWS), predictions, generator.random(ROWS))
    return np.stack(columns, axis=1).astype(np.float64)


def examples(found: np.ndarray) -> list[inside.StandardMetricInputs]:
    return [
        inside.StandardMetricInputs(
            label=np.array([label]), prediction=np.array([value]), example_weight=np.array([weight])
        )
        for label, value, weight in found
    ]


def buckets(combiner, accumulator) -> np.ndarray:
    (found,) = combiner.extract_output(accumulator).values()
    assert all(type(bucket) is inside.Bucket for bucket in found)
    assert all(type(bucket.bucket_id) is int for bucket in found), "TFMA uses it as a key"
    return np.array([list(vars(bucket).values()) for bucket in found])


def expected(combiner) -> np.ndarray:
    return buckets(combiner, combiner.add_inputs(combiner.create_accumulator(), examples(rows())))


@pytest.mark.parametrize("is_by_prediction", [True, False])
@pytest.mark.parametrize("way", ["rows", "examples", "both"])
def test_buckets_equal_tfma(is_by_prediction, way):
    combiner = with_arrays(stock(is_by_prediction))
    parts = []
    for number, part in enumerate(np.array_split(rows(), 5)):
        accumulator = combiner.create_accumulator()
        if way == "rows" or (way == "both" and number % 2):
            for piece in np.array_split(part, 3):
                accumulator = combiner.add_rows(accumulator, *piece.T)
        else:
            accumulator = combiner.add_inputs(accumulator, examples(part))
        if number == 3:
            accumulator = combiner.compact(accumulator)
        parts.append(pickle.loads(pickle.dumps(accumulator)))
    merged = combiner.merge_accumulators(iter([combiner.create_accumulator(), *parts]))
    found, wanted = buckets(combiner, merged), expected(stock(is_by_prediction))
    np.testing.assert_array_equal(found[:, 0], wanted[:, 0])
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_same_order_gives_exactly_equal_sums():
    combiner = with_arrays(stock())
    accumulator = combiner.add_rows(combiner.create_accumulator(), *rows().T)
    np.testing.assert_array_equal(buckets(combiner, accumulator), expected(stock()))


def test_merging_does_not_change_its_inputs():
    combiner = with_arrays(stock())
    part = combiner.add_inputs(combiner.create_accumulator(), examples(rows()[:9]))
    part = combiner.add_rows(part, *rows()[9:20].T)
    before = copy.deepcopy(part)
    combiner.merge_accumulators([part, part])
    np.testing.assert_array_equal(buckets(combiner, part), buckets(combiner, before))


def test_no_rows_are_no_buckets():
    combiner = with_arrays(stock())
    accumulator = combiner.add_rows(combiner.create_accumulator(), *rows()[:0].T)
    assert buckets(combiner, combiner.merge_accumulators([accumulator])).size == 0


def test_pickle_is_smaller():
    plain, ours = stock(), with_arrays(stock())
    for combiner in (plain, ours):
        combiner._num_buckets = 10_000
    whole = plain.add_inputs(plain.create_accumulator(), examples(rows()))
    found = ours.add_rows(ours.create_accumulator(), *rows().T)
    assert len(pickle.dumps(found)) < len(pickle.dumps(whole)) / 1.4


def test_subclasses_are_not_replaced():
    class Other(inside.CalibrationHistogram):
        pass

    other = Other(inside.PlotKey("p"), None, None, None, True, 40, 0.0, 1.0, True, False)
    assert with_arrays(other) is other
    assert type(with_arrays(stock())) is HistogramCombiner
