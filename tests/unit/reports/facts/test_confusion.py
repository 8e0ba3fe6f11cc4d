"""Confusion matrices."""

import numpy as np
import pytest

from ordain.reports.facts.confusion import NO_CLASS, read_confusion
from ordain.reports.facts.intervals import Histogram
from ordain.reports.facts.model import Evaluation


def evaluation(**changes):
    base = {
        "names": (),
        "slices": {},
        "counts": {},
        "has_baseline": False,
        "candidate": None,
        "baseline": None,
        "classes": (),
        "threshold": 0.5,
        "confusion": {},
        "sample": None,
        "importance": None,
    }
    return Evaluation(**(base | changes))


def test_a_number_has_none():
    assert read_confusion(evaluation()) is None


@pytest.mark.parametrize(("threshold", "above"), [(0.5, 2), (0.25, 3), (0.0, 4), (1.0, 0)])
def test_two_classes_are_cut_at_the_models_threshold(threshold, above):
    counts = np.array([1.0, 10.0, 100.0, 1000.0])
    histogram = Histogram(np.linspace(0, 1, 5), counts, 2 * counts, counts)
    found = read_confusion(
        evaluation(candidate=histogram, threshold=threshold, classes=("on time", "late"))
    )
    over = counts[4 - above :].sum()
    assert found.classes == ("on time", "late")
    assert [[cell.count for cell in row] for row in found.rows] == [
        [2 * (1111 - over), 2 * over],
        [1111 - over, over],
    ]
    assert found.recalls == pytest.approx((1 - over / 1111, over / 1111))
    if above:
        assert found.precisions[1] == pytest.approx(1 / 3)
    else:
        assert np.isnan(found.precisions[1]), "never predicted"


def test_many_classes_with_examples_that_got_none():
    counts = {(0, 0): 8.0, (0, 1): 1.0, (1, 1): 5.0, (1, 0): 3.0, (1, NO_CLASS): 2.0}
    found = read_confusion(evaluation(confusion=counts, classes=("a",)))
    assert found.classes == ("a", "1", "none")
    assert [cell.count for cell in found.rows[1]] == [3.0, 5.0, 2.0]
    assert found.confusions == (
        ("1", "a", 3.0, 0.3),
        ("1", "none", 2.0, 0.2),
        ("a", "1", 1.0, 1 / 9),
    )
    assert found.recalls == pytest.approx((8 / 9, 0.5))
    assert found.precisions == pytest.approx((8 / 11, 5 / 6))
    assert found.threshold is None


def test_the_gates_own_matrix_goes_before_the_histogram():
    """A threshold within a bucket: the histogram does not know on which side its rows are."""
    counts = np.array([1.0, 10.0, 100.0, 1000.0])
    histogram = Histogram(np.linspace(0, 1, 5), counts, 2 * counts, counts)
    cells = {(0, 0): 1222.0, (0, 1): 1000.0, (1, 0): 711.0, (1, 1): 400.0}
    found = read_confusion(evaluation(candidate=histogram, threshold=0.8, matrix=cells))
    assert [[cell.count for cell in row] for row in found.rows] == [[1222, 1000], [711, 400]]
    assert found.threshold == 0.8
