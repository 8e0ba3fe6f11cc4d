"""Results of launches."""

import pytest

from ordain.history.result_builder import count_rows
from ordain.history.runs import Output


@pytest.mark.parametrize(
    ("properties", "rows"),
    [
        ([], None),
        ([{}], None),
        ([{"rows": '{"splits": {"train": 2, "eval": 1}, "left_out": 5}'}], 3),
        ([{"rows": '{"splits": {"train": 2}}'}, {}, {"rows": '{"splits": {"train": 0}}'}], 2),
    ],
)
def test_rows_are_summed_where_they_are_counted(properties, rows):
    assert count_rows([Output(1, "examples", "Examples", "", p) for p in properties]) == rows
