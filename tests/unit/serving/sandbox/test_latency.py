"""Latency samples: the text of a series, and its end."""

import itertools
import time

import pytest

from ordain.serving.sandbox.latency import SAMPLES, TAIL, Series, percentile, take_series

FAST, SLOW, LIMIT = 2.0, 900.0, 500.0


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)]
)
def test_percentiles_are_by_nearest_rank(share, value):
    assert percentile(list(range(100, 0, -1)), share) == value
    assert percentile([7], share) == 7


@pytest.mark.parametrize("count", [1, 5, 59, 60, 96, 299, SAMPLES])
def test_the_highest_quantile_named_is_not_the_maximum(count):
    times = tuple(float(n) for n in range(count))
    series = Series(times, LIMIT)
    if count > 2 * TAIL:
        assert sum(t > percentile(times, series.share) for t in times) >= TAIL
    assert series.is_whole == (count == SAMPLES)
    assert (series.share == 0.99) == series.is_whole


@pytest.mark.parametrize(
    ("times", "is_over", "asked"),
    [
        # One pause of a busy machine, wherever it falls, says nothing about the model.
        ([SLOW], False, SAMPLES),
        ([FAST] * 50 + [SLOW] * TAIL, False, SAMPLES),
        ([FAST] * (SAMPLES - 1) + [SLOW], False, SAMPLES),
        # Four of 300 are more than one in a hundred: nothing that comes after can change it.
        ([FAST] * 50 + [SLOW] * (TAIL + 1), True, 50 + TAIL + 1),
        ([SLOW] * 4, True, 4),
        ([LIMIT] * 10, False, SAMPLES),
    ],
)
def test_series_ends_once_the_result_is_certain(times, is_over, asked):
    waiting = itertools.chain(times, itertools.repeat(FAST))
    kinds = []

    def ask(number):
        kinds.append(number)
        return next(waiting)

    series = take_series(ask, [3, 5], LIMIT, 60)
    assert (series.is_over, len(series.times_ms)) == (is_over, asked)
    assert kinds[:4] == [3, 5, 3, 5]
    if series.is_whole:
        assert (percentile(series.times_ms, 0.99) > LIMIT) == is_over


def test_interrupted_series_reports_no_p99():
    def ask(_):
        time.sleep(0.02)
        return 20.0

    series = take_series(ask, [0], LIMIT, 0.15)
    assert 1 < len(series.times_ms) < 20 and not series.is_whole and not series.is_over
    assert "p99" not in str(series)


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ([1.0] * 298 + [3.0, 4.0], "p50 1.0, p95 1.0, p99 1.0 ms of 300 requests"),
        ([1.0] * 100, "p50 1.0, p95 1.0, p97 1.0 ms of 100 requests"),
        ([1.0, 2.0], "p50 1.0 ms of 2 requests"),
        (
            [600.0, 1.0, 700.0, 800.0, 900.0],
            "4 of 5 requests took longer than 500 ms (median 700.0, longest 900.0)",
        ),
    ],
)
def test_words(times, text):
    assert str(Series(tuple(times), LIMIT)) == text
