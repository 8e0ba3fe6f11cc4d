"""Accumulators on their way from one worker to another."""

from __future__ import annotations

import pickle

import pytest

from components import evaluation_tfma as inside
from components.evaluation_combiners import pack, unpack


def histogram() -> dict[int, inside.Bucket]:
    return {number: inside.Bucket(number, number / 3, number / 7, 1.5) for number in (7, 3, 10_001)}


def test_a_histogram_comes_back_to_the_last_digit_and_in_its_order() -> None:
    packed = pickle.loads(pickle.dumps(pack(histogram())))
    assert type(packed) is not dict
    assert list(unpack(packed).items()) == list(histogram().items())
    assert all(type(bucket.weighted_labels) is float for bucket in unpack(packed).values())


@pytest.mark.parametrize("accumulator", [{}, 3.0, {0.5: {"key": 1.0}}, [1, 2]])
def test_what_is_no_histogram_stays_as_it_is(accumulator: object) -> None:
    assert unpack(pack(accumulator)) is accumulator


def test_a_histogram_takes_less_packed() -> None:
    whole = {number: inside.Bucket(number, 1 / 3, 1 / 7, 1.5) for number in range(10_000)}
    assert len(pickle.dumps(pack(whole))) < len(pickle.dumps(whole)) / 1.3
