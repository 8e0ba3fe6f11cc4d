"""Each Arrow type in a tf.Example: exactly the same values, or refused by name."""

import numpy as np
import pyarrow as pa
import pytest

from ordain.components.examples.arrow_types import (
    FeatureType,
    Place,
    TextColumn,
    to_feature,
    type_of_arrow,
)
from ordain.errors import DataBlockedError

INT, FLOAT, BYTES = FeatureType.INT, FeatureType.FLOAT, FeatureType.BYTES
PLACE = Place("data/1/a.parquet", "x", first_row=100)
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

ACCEPTED = [
    (pa.null(), None),
    (pa.bool_(), INT),
    *[(getattr(pa, f"{sign}int{bits}")(), INT) for sign in ("", "u") for bits in (8, 16, 32, 64)],
    (pa.float16(), FLOAT),
    (pa.float32(), FLOAT),
    (pa.float64(), FLOAT),
    (pa.string(), BYTES),
    (pa.large_string(), BYTES),
    (pa.binary(), BYTES),
    (pa.large_binary(), BYTES),
    (pa.date32(), BYTES),
    (pa.date64(), BYTES),
    *[(pa.timestamp(unit), BYTES) for unit in ("s", "ms", "us", "ns")],
    (pa.timestamp("ns", "Europe/Berlin"), BYTES),
    (pa.dictionary(pa.int8(), pa.string()), BYTES),
    (pa.dictionary(pa.int32(), pa.int64()), INT),
    (pa.list_(pa.int64()), INT),
    (pa.list_(pa.null()), None),
    (pa.list_(pa.dictionary(pa.int8(), pa.string())), BYTES),
    (pa.large_list(pa.string()), BYTES),
    (pa.list_(pa.timestamp("s")), BYTES),
]
REFUSED = [
    pa.decimal128(5, 2),
    pa.decimal256(5, 2),
    pa.time32("s"),
    pa.time64("us"),
    pa.duration("s"),
    pa.month_day_nano_interval(),
    pa.binary(4),
    pa.string_view(),
    pa.binary_view(),
    pa.struct([("a", pa.int64())]),
    pa.map_(pa.string(), pa.int64()),
    pa.dense_union([pa.field("a", pa.int64())]),
    pa.run_end_encoded(pa.int32(), pa.int64()),
    pa.list_(pa.int64(), 2),
    pa.list_view(pa.int64()),
    pa.list_(pa.decimal128(5, 2)),
    pa.dictionary(pa.int8(), pa.decimal128(5, 2)),
]


def refusal(column: pa.Array, wanted: FeatureType) -> str:
    with pytest.raises(DataBlockedError) as caught:
        to_feature(column, wanted, PLACE)
    return caught.value.message


class TestTypes:
    @pytest.mark.parametrize(("column", "feature"), ACCEPTED, ids=str)
    def test_accepted(self, column, feature):
        assert type_of_arrow(column) is feature

    @pytest.mark.parametrize("column", REFUSED, ids=str)
    def test_refused_by_name(self, column):
        inner = column.value_type if hasattr(column, "value_type") else column
        with pytest.raises(TypeError) as caught:
            type_of_arrow(column)
        assert "no lossless representation in a tf.Example" in str(caught.value)
        assert str(column) in str(caught.value) or str(inner) in str(caught.value)

    @pytest.mark.parametrize("inner", [pa.list_(pa.int64()), pa.struct([("a", pa.int64())])])
    def test_lists_of_anything_nested_are_refused(self, inner):
        with pytest.raises(TypeError, match="lists of lists"):
            type_of_arrow(pa.list_(inner))

    def test_every_arrow_type_is_covered(self):
        known = {str(t) for t, _ in ACCEPTED} | {str(t) for t in REFUSED}
        assert len(known) == len(ACCEPTED) + len(REFUSED)

    @pytest.mark.parametrize("column", [t for t, f in ACCEPTED if f is not None], ids=str)
    def test_an_accepted_one_without_rows_or_with_nulls_only_is_no_error(self, column):
        for rows in (0, 2):
            feature = to_feature(pa.nulls(rows, column), type_of_arrow(column), PLACE)
            assert feature.to_pylist() == [None] * rows
            assert feature.type == pa.list_(type_of_arrow(column).arrow)


CONVERTED = [
    ([1, None, -3], pa.int8(), INT, [[1], None, [-3]]),
    ([2**53 + 1, INT64_MAX, INT64_MIN], pa.int64(), INT, [[2**53 + 1], [INT64_MAX], [INT64_MIN]]),
    ([INT64_MAX], pa.uint64(), INT, [[INT64_MAX]]),
    ([True, None, False], pa.bool_(), INT, [[1], None, [0]]),
    ([1.5, None], pa.float32(), FLOAT, [[1.5], None]),
    ([0.1], pa.float64(), FLOAT, [[float(np.float32(0.1))]]),
    ([float("inf"), float("-inf")], pa.float64(), FLOAT, [[float("inf")], [float("-inf")]]),
    ([1, 2**24], pa.int32(), FLOAT, [[1.0], [2.0**24]]),
    ([True], pa.bool_(), FLOAT, [[1.0]]),
    ([3.0, -2.0], pa.float64(), INT, [[3], [-2]]),
    (["Zürich", "", None], pa.string(), BYTES, [["Zürich".encode()], [b""], None]),
    (["a"], pa.large_string(), BYTES, [[b"a"]]),
    ([b"\xff\x00"], pa.binary(), BYTES, [[b"\xff\x00"]]),
    ([b"\xff"], pa.large_binary(), BYTES, [[b"\xff"]]),
    (["007", "42"], pa.string(), BYTES, [[b"007"], [b"42"]]),
    ([" 42 ", "-7", str(INT64_MIN)], pa.string(), INT, [[42], [-7], [INT64_MIN]]),
    (["1.5", "1e3", "-inf"], pa.string(), FLOAT, [[1.5], [1000.0], [float("-inf")]]),
    ([7], pa.int64(), BYTES, [[b"7"]]),
    (["a", None, "a"], pa.dictionary(pa.int8(), pa.string()), BYTES, [[b"a"], None, [b"a"]]),
    ([5, 5], pa.dictionary(pa.int8(), pa.int64()), INT, [[5], [5]]),
    ([[1, 2], [], None, [3]], pa.list_(pa.int64()), INT, [[1, 2], [], None, [3]]),
    ([["a"], []], pa.large_list(pa.string()), BYTES, [[b"a"], []]),
    ([[True]], pa.list_(pa.bool_()), INT, [[1]]),
    ([["a", "b"]], pa.list_(pa.dictionary(pa.int8(), pa.string())), BYTES, [[b"a", b"b"]]),
    ([[], None], pa.list_(pa.null()), INT, [[], None]),
]


@pytest.mark.parametrize(("values", "kind", "wanted", "expected"), CONVERTED)
class TestConversion:
    def test_values_become_features(self, values, kind, wanted, expected):
        feature = to_feature(pa.array(values, kind), wanted, PLACE)
        assert feature.type == pa.list_(wanted.arrow)
        assert feature.to_pylist() == expected

    def test_a_slice_of_a_column_is_that_slice(self, values, kind, wanted, expected):
        whole = pa.array([*values, *values], kind)
        feature = to_feature(whole[1 : len(values) + 1], wanted, PLACE)
        assert feature.to_pylist() == [*expected, *expected][1 : len(values) + 1]


def test_half_precision_is_exact():
    column = pa.array(np.array([0.5, 65504], np.float16))
    assert to_feature(column, FLOAT, PLACE).to_pylist() == [[0.5], [65504.0]]


def test_nan_stays_nan():
    (value,) = to_feature(pa.array([float("nan")]), FLOAT, PLACE).to_pylist()
    assert np.isnan(value[0])


class TestTimes:
    @pytest.mark.parametrize(
        ("unit", "value", "text"),
        [
            ("s", 1_700_000_000, b"2023-11-14T22:13:20"),
            ("ms", 1_700_000_000_001, b"2023-11-14T22:13:20.001"),
            ("us", 1_700_000_000_000_001, b"2023-11-14T22:13:20.000001"),
            ("ns", 1_700_000_000_000_000_001, b"2023-11-14T22:13:20.000000001"),
            ("s", -1, b"1969-12-31T23:59:59"),
        ],
    )
    def test_timestamps_are_text_exact_to_their_unit(self, unit, value, text):
        column = pa.array([value, None], pa.timestamp(unit))
        assert to_feature(column, BYTES, PLACE).to_pylist() == [[text], None]

    @pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "+05:30"])
    def test_timestamps_with_a_zone_are_in_utc(self, zone):
        column = pa.array([1_700_000_000], pa.timestamp("s", zone))
        assert to_feature(column, BYTES, PLACE).to_pylist() == [[b"2023-11-14T22:13:20Z"]]

    @pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
    def test_dates_are_iso_dates(self, kind):
        column = pa.array([0, 19_675], pa.int32()).cast(pa.date32()).cast(kind)
        assert to_feature(column, BYTES, PLACE).to_pylist() == [[b"1970-01-01"], [b"2023-11-14"]]

    def test_in_lists_are_text_too(self):
        column = pa.array([[0], []], pa.list_(pa.timestamp("s")))
        assert to_feature(column, BYTES, PLACE).to_pylist() == [[b"1970-01-01T00:00:00"], []]


class TestRefusedValues:
    """Each is named with file, column, row (counted over the whole file) and value."""

    @pytest.mark.parametrize(
        ("values", "kind", "wanted", "row", "problem"),
        [
            (
                [1, 2**63],
                pa.uint64(),
                INT,
                102,
                "does not fit INT exactly (got '9223372036854775808')",
            ),
            ([None, 2**53 + 1], pa.int64(), FLOAT, 102, "(got '9007199254740993')"),
            ([1.0, None, 2.5], pa.float64(), INT, 103, "does not fit INT exactly (got '2.5')"),
            ([float("nan")], pa.float64(), INT, 101, "(got 'nan')"),
            ([1e19], pa.float64(), INT, 101, "(got '1e+19')"),
            ([None, 1.0, 1e39], pa.float64(), FLOAT, 103, "does not fit float32"),
            ([-1e39], pa.float64(), FLOAT, 101, "does not fit float32"),
            ([str(2**63)], pa.string(), INT, 101, "is an integer beyond 64 bits"),
            (["1", None, "x"], pa.string(), INT, 103, "is not a number (INT expected) (got 'x')"),
            (["1.5"], pa.string(), INT, 101, "is not a number (INT expected)"),
            (["+5"], pa.string(), INT, 101, "is not a number (INT expected)"),
            ([""], pa.string(), FLOAT, 101, "is not a number (FLOAT expected) (got '')"),
            (["1", "1e400"], pa.string(), FLOAT, 102, "does not fit float32"),
            (["1", "1e39"], pa.string(), FLOAT, 102, "does not fit float32"),
            ([b"1", b"\xff"], pa.binary(), INT, 102, "is not a number"),
            ([0], pa.timestamp("s"), INT, 101, "(got '1970-01-01T00:00:00')"),
            ([[1], None, [2, None]], pa.list_(pa.int64()), INT, 103, "a list contains a null"),
            ([[1], [], [2, 2**63]], pa.list_(pa.uint64()), INT, 103, "(got '9223372036854775808')"),
            ([["1"], ["2", "x"]], pa.list_(pa.string()), INT, 102, "(got 'x')"),
            ([[1.0], [1e39]], pa.list_(pa.float64()), FLOAT, 102, "does not fit float32"),
        ],
    )
    def test_with_their_place(self, values, kind, wanted, row, problem):
        message = refusal(pa.array(values, kind), wanted)
        assert message.startswith(f"data/1/a.parquet: column 'x', row {row}: ")
        assert problem in message

    def test_a_long_value_is_cut(self):
        assert len(refusal(pa.array(["x" * 10_000]), INT)) < 200


def infer(*batches: list[str | None]) -> FeatureType | None:
    column = TextColumn(Place("a.csv", "x"))
    row = 0
    for batch in batches:
        column.add(pa.array(batch, pa.string()), row)
        row += len(batch)
    return column.result()


class TestInference:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("1", INT),
            ("-1", INT),
            ("0", INT),
            (" 5 ", INT),
            (str(2**53 + 1), INT),
            (str(INT64_MAX), INT),
            (str(INT64_MIN), INT),
            ("1.5", FLOAT),
            (".5", FLOAT),
            ("1e5", FLOAT),
            ("-inf", FLOAT),
            ("NaN", FLOAT),
            ("0.5", FLOAT),
            ("true", BYTES),
            ("1,000", BYTES),
            ("2013-01-01", BYTES),
            ("", BYTES),
            (" ", BYTES),
            ("1_0", BYTES),
            # As numbers these would lose what they are written with.
            ("007", BYTES),
            ("-007", BYTES),
            ("00", BYTES),
            ("+5", BYTES),
            ("+4930123456789", BYTES),
            ("0x1F", BYTES),
        ],
    )
    def test_one_value(self, text, expected):
        assert infer([text]) is expected
        assert infer([None, text, None]) is expected

    @pytest.mark.parametrize(
        ("batches", "expected"),
        [
            ([], None),
            ([[None, None]], None),
            ([["1"], [None]], INT),
            ([["1"], ["2.5"]], FLOAT),
            ([["2.5"], ["1"]], FLOAT),
            ([["1"], ["x"]], BYTES),
            ([["1.5"], ["x"], ["2"]], BYTES),
            ([["1", "2.5", "x"]], BYTES),
            ([["12"], ["34"], ["056"]], BYTES),
            ([["x"], [str(2**53 + 1)], ["1.5"]], BYTES),
        ],
    )
    def test_the_whole_input_decides(self, batches, expected):
        assert infer(*batches) is expected

    @pytest.mark.parametrize(
        ("batches", "row"),
        [
            ([[str(2**53 + 1), "1.5"]], 1),
            ([["1", None, str(2**53 + 1)], ["1.5"]], 3),
            ([["1.5"], ["3", str(-(2**53) - 1)]], 3),
            ([[str(2**63)]], 1),
        ],
    )
    def test_an_integer_no_number_type_keeps_is_refused_with_its_row(self, batches, row):
        with pytest.raises(DataBlockedError) as caught:
            infer(*batches)
        message = caught.value.message
        assert message.startswith(f"a.csv: column 'x', row {row}: is an integer too large")
