"""Confidence intervals, held against the plain way on the examples themselves."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ordain.reports.facts import intervals
from ordain.reports.facts.intervals import Histogram, Interval


@pytest.fixture(scope="module")
def sample():
    generator = np.random.default_rng(7)
    labels = (generator.random(3000) < 0.3).astype(float)
    predictions = np.clip(generator.normal(0.35 + 0.25 * labels, 0.15), 0, 0.999)
    return labels, predictions


def histogram_of(labels, predictions, buckets=500):
    edges = np.linspace(0, 1, buckets + 1)
    place = np.minimum((predictions * buckets).astype(int), buckets - 1)

    def count(weights):
        return np.bincount(place, weights=weights, minlength=buckets)

    return Histogram(edges, count(labels), count(1 - labels), count(predictions))


def test_metrics_of_a_histogram_are_those_of_the_examples(sample):
    labels, predictions = sample
    found = histogram_of(labels, predictions)
    area = float(intervals.auc(found.positives, found.negatives))
    assert area == pytest.approx(roc_auc_score(labels, predictions), abs=1e-3)
    precision = float(intervals.average_precision(found.positives, found.negatives))
    assert precision == pytest.approx(average_precision_score(labels, predictions), abs=5e-3)
    right = float(intervals.accuracy(found.positives, found.negatives, 250))
    assert right == pytest.approx(np.mean((predictions >= 0.5) == labels))
    said = predictions >= 0.5
    assert float(intervals.recall(found.positives, found.negatives, 250)) == pytest.approx(
        np.mean(said[labels == 1])
    )
    assert float(intervals.precision(found.positives, found.negatives, 250)) == pytest.approx(
        np.mean(labels[said])
    )


def test_the_bootstrap_is_as_wide_as_that_of_the_examples(sample):
    labels, predictions = sample
    value = roc_auc_score(labels, predictions)
    found = intervals.bootstrap(histogram_of(labels, predictions), "auc", value, 0.5)
    generator = np.random.default_rng(3)
    draws = []
    for _ in range(300):
        rows = generator.integers(0, len(labels), len(labels))
        draws.append(roc_auc_score(labels[rows], predictions[rows]))
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.004)
    assert found.high == pytest.approx(high, abs=0.004)
    assert found.low < value < found.high


def test_ten_times_the_examples_give_a_third_of_the_width(sample):
    labels, predictions = sample
    one = histogram_of(labels, predictions)
    ten = Histogram(one.edges, 10 * one.positives, 10 * one.negatives, 10 * one.predictions)
    narrow, wide = (intervals.bootstrap(h, "auc", 0.8, 0.5) for h in (ten, one))
    ratio = (wide.high - wide.low) / (narrow.high - narrow.low)
    assert ratio == pytest.approx(10**0.5, rel=0.2)


def test_one_label_alone_has_no_interval(sample):
    labels, predictions = sample
    assert intervals.bootstrap(histogram_of(0 * labels, predictions), "auc", 0.5, 0.5) is None


def test_wilson():
    # The example of Brown, Cai and DasGupta's tables: 10 of 20.
    found = intervals.wilson(0.5, 20)
    assert (found.low, found.high) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert intervals.wilson(1.0, 5).high == 1.0
    assert intervals.wilson(0.0, 5) == Interval(0.0, pytest.approx(0.4345, abs=1e-4), "wilson")


def test_normal_is_the_standard_error_of_the_mean():
    errors = np.array([1.0, -1.0, 2.0, 0.0])
    found = intervals.normal("mean_absolute_error", 1.0, errors, 400)
    spread = 1.959964 * np.std([1, 1, 2, 0], ddof=1) / 20
    assert (found.low, found.high) == pytest.approx((1 - spread, 1 + spread))
    assert intervals.normal("r2_score", 1.0, errors, 400) is None


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("sparse_categorical_accuracy", "wilson"),
        ("auc", "bootstrap"),
        ("mean_squared_error", "normal"),
        ("r2_score", None),
    ],
)
def test_the_way_follows_the_metric(sample, name, method):
    found = intervals.interval_of(
        name, 0.8, 3000.0, histogram_of(*sample), sample[0] - sample[1], 0.5
    )
    assert (found.method if found else None) == method


@pytest.mark.parametrize("threshold", [0.2, 0.8])
def test_an_interval_is_at_the_threshold_of_its_value(sample, threshold):
    labels, predictions = sample
    value = np.mean((predictions >= threshold)[labels == 1])
    histogram = histogram_of(labels, predictions)
    found = intervals.interval_of("recall", value, 3000.0, histogram, None, threshold)
    spread = 1.96 * np.sqrt(value * (1 - value) / labels.sum())
    assert found.high - found.low == pytest.approx(2 * spread, rel=0.2)
