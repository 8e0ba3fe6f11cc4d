"""Lossless conversion of Arrow columns to tf.Example features.

A tf.Example feature is a list of int64, float32 or bytes. A column either fits one of these exactly
(floating point: to float32's precision) or is refused by name.
"""

from __future__ import annotations

import enum
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ordain.errors import DataBlockedError

_BEYOND_INT64 = re.compile(r"[+-]?\d{19,}")
#: Numeric text that would lose characters as a number: "00501", "+4930123456", "0x1F".
_WRITTEN = r"^([+-]?0\d+|\+\d+|[+-]?0[xX][0-9a-fA-F]+)$"
#: Beyond this, float64 cannot represent every integer.
_EXACT_IN_FLOAT64 = 2**53


class FeatureType(enum.StrEnum):
    """The three types of tf.Example features; values as in the TFMD schema."""

    INT = "INT"
    FLOAT = "FLOAT"
    BYTES = "BYTES"

    @property
    def arrow(self) -> pa.DataType:
        """Arrow type of one value."""
        return {"INT": pa.int64(), "FLOAT": pa.float32(), "BYTES": pa.binary()}[self.value]


def type_of_arrow(column: pa.DataType) -> FeatureType | None:
    """Feature type of an Arrow type; None for a column of nulls only.

    Raises:
        TypeError: The type has no lossless representation in a tf.Example.
    """
    if pa.types.is_dictionary(column):
        return type_of_arrow(column.value_type)
    if pa.types.is_list(column) or pa.types.is_large_list(column):
        inner = column.value_type
        if pa.types.is_nested(inner):
            raise TypeError("a tf.Example cannot contain lists of lists")
        return type_of_arrow(inner)
    if pa.types.is_null(column):
        return None
    if pa.types.is_integer(column) or pa.types.is_boolean(column):
        return FeatureType.INT
    if pa.types.is_floating(column):
        return FeatureType.FLOAT
    textual = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)
    if any(check(column) for check in (*textual, pa.types.is_large_binary)):
        return FeatureType.BYTES
    if pa.types.is_timestamp(column) or pa.types.is_date(column):
        return FeatureType.BYTES
    raise TypeError(f"{column} has no lossless representation in a tf.Example")


def to_feature(column: pa.Array, wanted: FeatureType, place: Place) -> pa.ListArray:
    """Converts a column to lists, as tfx_bsl encodes them.

    Args:
        column: `[rows]` of any type that `type_of_arrow` accepts.
        wanted: The feature type.
        place: File, column and first row, for errors.

    Returns:
        `[rows]` lists of int64, float32 or binary; a null row stays null (a missing feature).

    Raises:
        DataBlockedError: A value does not fit; names file, column, row and value.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        values = column.flatten()
        if values.null_count:
            index = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
            row = _row_of(column, index)
            raise place.error("a list contains a null, which a tf.Example cannot", row)
        flat = _cast(values, wanted, place, column)
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    else:
        flat = _cast(column.drop_null(), wanted, place, column)
        lengths = column.is_valid().to_numpy(zero_copy_only=False).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat, mask=column.is_null())


class Place:
    """Location of values: file, column and first row; makes errors that name it."""

    def __init__(self, file: str, column: str, first_row: int = 0) -> None:
        self.file = file
        self.column = column
        self.first_row = first_row

    def error(self, problem: str, row: int | None = None, value: object = None) -> DataBlockedError:
        """An error about a value; rows count from 1, without the header."""
        at = f", row {self.first_row + row + 1}" if row is not None else ""
        shown = f" (got {str(value)[:60]!r})" if value is not None else ""
        return DataBlockedError(
            f"{self.file}: column {self.column!r}{at}: {problem}{shown}",
            "correct the file or add it as a new version of its span; "
            "if the change is intended, `ordain schema diff PROJECT` shows what the schema expects",
        )


def _cast(values: pa.Array, wanted: FeatureType, place: Place, whole: pa.Array) -> pa.Array:
    """Casts values without nulls; on failure reports the first that does not fit."""
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        values = _iso8601(values)
        kind = values.type
    textual = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    textual = textual or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if wanted is FeatureType.BYTES:
        if not textual:
            values = values.cast(pa.string())
        return values.cast(pa.binary())
    if textual:
        return _parse(values, wanted, place, whole)
    if pa.types.is_boolean(kind):
        values = values.cast(pa.int8())
    target = pa.float64() if wanted is FeatureType.FLOAT else pa.int64()
    try:
        cast = values.cast(target)
    except pa.ArrowInvalid as error:
        index = _first_unfit(values, target)
        row, value = _row_of(whole, index), values[index].as_py()
        raise place.error(f"does not fit {wanted} exactly", row, value) from error
    return _narrow(cast, place, whole) if wanted is FeatureType.FLOAT else cast


def _iso8601(values: pa.Array) -> pa.Array:
    """Timestamps and dates as ISO 8601 text, exact to their unit, with a time zone in UTC."""
    if pa.types.is_date(values.type):
        return pc.strftime(values.cast(pa.timestamp("s")), format="%Y-%m-%d")
    zone = values.type.tz
    if zone is not None:
        values = values.cast(pa.timestamp(values.type.unit, "UTC"))
    # %S includes the fraction of the column's unit.
    return pc.strftime(values, format="%Y-%m-%dT%H:%M:%S" + ("Z" if zone else ""))


def _narrow(values: pa.Array, place: Place, whole: pa.Array) -> pa.Array:
    """Converts float64 to float32; refuses values that would become infinite."""
    wide = values.to_numpy(zero_copy_only=False)
    too_big = np.isfinite(wide) & (np.abs(wide) > np.finfo(np.float32).max)
    if too_big.any():
        index = int(np.argmax(too_big))
        row = _row_of(whole, index)
        raise place.error("does not fit float32, a tf.Example's float", row, wide[index])
    return pa.array(wide.astype(np.float32))


def _parse(values: pa.Array, wanted: FeatureType, place: Place, whole: pa.Array) -> pa.Array:
    """Parses text as numbers."""
    target = pa.int64() if wanted is FeatureType.INT else pa.float64()
    try:
        text = pc.utf8_trim_whitespace(values.cast(pa.string()))
        parsed = text.cast(target)
    except pa.ArrowInvalid:
        for index, value in enumerate(values.to_pylist()):
            raw = value if isinstance(value, str) else value.decode("utf-8", "replace")
            try:
                pa.array([raw.strip()]).cast(target)
            except pa.ArrowInvalid as error:
                problem = f"is not a number ({wanted} expected)"
                if _BEYOND_INT64.fullmatch(raw.strip()):
                    problem = "is an integer beyond 64 bits"
                raise place.error(problem, _row_of(whole, index), raw) from error
        raise
    if wanted is FeatureType.INT:
        return parsed
    # "1e400" parses as infinity, which only "inf" should.
    too_big = pc.and_(pc.is_inf(parsed), pc.match_substring_regex(text, r"\d"))
    if pc.any(too_big).as_py():
        index = int(np.argmax(too_big.to_numpy(zero_copy_only=False)))
        row, value = _row_of(whole, index), text[index].as_py()
        raise place.error("does not fit float32, a tf.Example's float", row, value)
    return _narrow(parsed, place, whole)


def _row_of(whole: pa.Array, index: int) -> int:
    """Row of the `index`-th value of a column, not counting nulls."""
    if pa.types.is_list(whole.type) or pa.types.is_large_list(whole.type):
        return int(pc.list_parent_indices(whole)[index].as_py())
    return int(np.flatnonzero(whole.is_valid().to_numpy(zero_copy_only=False))[index])


def _first_unfit(values: pa.Array, target: pa.DataType) -> int:
    """Index of the first value that cannot be cast; there must be one."""
    for index in range(len(values)):
        try:
            values[index : index + 1].cast(target)
        except pa.ArrowInvalid:
            return index
    raise AssertionError("every single value can be cast")


class TextColumn:
    """Infers the type of a column of text, batch by batch, over the whole input.

    INT until a value is not an integer, then FLOAT, then BYTES. Text with leading zeros
    ("00501") or a plus sign ("+4930123456") is BYTES: a number would lose them.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.type: FeatureType | None = None
        self._beyond: tuple[int, str] | None = None

    def add(self, values: pa.Array, first_row: int) -> None:
        """Adds the next batch: `[rows] string`, nulls allowed."""
        if self.type is FeatureType.BYTES:
            return
        text = pc.utf8_trim_whitespace(values.drop_null())
        if len(text) == 0:
            return
        if pc.any(pc.match_substring_regex(text, _WRITTEN)).as_py():
            self.type = FeatureType.BYTES
            return
        try:
            numbers = text.cast(pa.int64())
            beyond = pc.or_(
                pc.greater(numbers, _EXACT_IN_FLOAT64), pc.less(numbers, -_EXACT_IN_FLOAT64)
            )
            self._note_beyond(beyond, text, values, first_row)
            self.type = self.type or FeatureType.INT
        except pa.ArrowInvalid:
            try:
                text.cast(pa.float64())
                whole = pc.match_substring_regex(text, r"^[+-]?\d{16,}$")
                self._note_beyond(whole, text, values, first_row)
                self.type = FeatureType.FLOAT
            except pa.ArrowInvalid:
                self.type = FeatureType.BYTES

    def result(self) -> FeatureType | None:
        """The column's type; None if it has no value.

        Raises:
            DataBlockedError: An integer in a column of numbers cannot be represented exactly.
        """
        if self.type is FeatureType.FLOAT and self._beyond is not None:
            row, value = self._beyond
            problem = "is an integer too large to be kept exactly in a column of decimal numbers"
            raise self.place.error(problem, row, value)
        return self.type

    def _note_beyond(self, mask: pa.Array, text: pa.Array, values: pa.Array, first: int) -> None:
        if self._beyond is None and pc.any(mask).as_py():
            index = int(np.argmax(mask.to_numpy(zero_copy_only=False)))
            self._beyond = (first + _row_of(values, index), text[index].as_py())
