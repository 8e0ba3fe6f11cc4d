"""Distributions made comparable."""

import pytest
import tensorflow_data_validation as tfdv

from ordain.reports.facts.binning import BINS, binned, common_edges, common_values, valued
from ordain.reports.facts.data import Distribution, _distribution


def numbers(*buckets):
    return Distribution(1, "train", int(sum(b[2] for b in buckets)), 0, buckets=buckets)


def texts(counts, present=None):
    total = sum(counts.values()) if present is None else present
    return Distribution(1, "train", total, 0, values=tuple(counts.items()))


def test_with_the_same_range_the_bars_are_tfdvs():
    import pandas as pd

    frame = pd.DataFrame({"x": [i * 0.37 % 9 for i in range(500)] + [0.0, 9.0]})
    stats = tfdv.generate_statistics_from_dataframe(frame)
    (raw,) = stats.datasets[0].features
    found = _distribution(raw, 1, "train", 502)
    own = [b.sample_count / 502 for b in raw.num_stats.histograms[0].buckets]
    assert binned(found, common_edges([found])) == pytest.approx(own, abs=1e-9)


def test_bins_cover_both_and_keep_the_mass():
    a, b = numbers((0, 1, 4), (1, 2, 4)), numbers((5, 10, 3))
    edges = common_edges([a, b])
    assert (edges[0], edges[-1], len(edges)) == (0, 10, BINS + 1)
    for d in (a, b):
        assert sum(binned(d, edges)) == pytest.approx(1)
    assert binned(a, edges)[:3] == pytest.approx([0.5, 0.5, 0])


def test_a_constant_is_one_bar():
    constant = numbers((12.0, 12.0, 7))
    shares = binned(constant, common_edges([constant]))
    assert sorted(shares) == [0.0] * (BINS - 1) + [1.0]
    shares = binned(constant, common_edges([constant, numbers((0, 12, 1))]))
    assert shares[-1] == 1.0, "the highest value belongs to the last bin"


def test_nothing_finite_has_no_edges():
    assert common_edges([]) == []
    assert common_edges([numbers((float("-inf"), 3, 1))]) == []
    assert common_edges([Distribution(1, "train", 0, 5, buckets=((0, 0, 0),))]) == []


def test_the_most_frequent_values_of_both_and_the_rest():
    a, b = texts({"u": 8, "v": 2}), texts({"w": 30}, present=40)
    values = common_values([a, b])
    assert values == ["w", "u", "v"]
    assert valued(a, values) == pytest.approx([0, 0.8, 0.2, 0])
    assert valued(b, values) == pytest.approx([0.75, 0, 0, 0.25])
