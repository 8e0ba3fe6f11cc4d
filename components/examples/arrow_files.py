"""Reads CSV, CSV.gz and Parquet files into Arrow batches.

Two passes: `inspect` determines each column's type over the *whole* file, so that no later row can
break the encoder; `read` then yields batches that are ready to encode. What cannot be read is
refused with file, column and row.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from ordain.components.examples.arrow_types import (
    FeatureType,
    Place,
    TextColumn,
    to_feature,
    type_of_arrow,
)
from ordain.errors import DataBlockedError

#: Bytes of CSV parsed at a time, and rows of Parquet: bounds memory, amortises overhead.
CSV_BLOCK_BYTES = 8 << 20
PARQUET_ROWS = 65_536
_FORMATS = {
    ".csv": "csv",
    ".gz": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
}
_REPAIR = "replace the file, or add the corrected one as a new version of its span"


def format_of(path: str) -> str:
    """`csv`, `parquet` or `tfrecord`, by the file's name.

    Raises:
        DataBlockedError: The name has none of these suffixes.
    """
    suffixes = PurePosixPath(path).suffixes
    if suffixes[-2:] in ([".tfrecord", ".gz"], [".tfrecords", ".gz"]):
        return "tfrecord"
    known = _FORMATS.get(suffixes[-1]) if suffixes else None
    if known is None:
        raise DataBlockedError(
            f"{path}: cannot tell the format from the name; expected .csv, .csv.gz, .parquet or "
            ".tfrecord",
            "set data.format in pipeline.yaml",
        )
    return known


def inspect(path: str, kind: str) -> dict[str, FeatureType | None]:
    """Determines the type of each column over a whole file, in the file's order.

    Returns:
        Type by column name; None for a column of nulls only.

    Raises:
        DataBlockedError: The file is empty, truncated or malformed, or has an unusable type.
    """
    if kind == "csv":
        return _inspect_csv(path)
    types: dict[str, FeatureType | None] = {}
    with _open_parquet(path) as file:
        names = file.schema_arrow.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataBlockedError(f"{path}: has column {twice[0]!r} more than once", _REPAIR)
        for field in file.schema_arrow:
            try:
                types[field.name] = type_of_arrow(field.type)
            except TypeError as error:
                raise Place(path, field.name).error(str(error)) from error
    if len(types) == 0:
        raise DataBlockedError(f"{path}: has no columns", _REPAIR)
    return types


def read(
    path: str, kind: str, types: Mapping[str, FeatureType], part: int = 0, parts: int = 1
) -> Iterator[pa.RecordBatch]:
    """Yields a file's rows with every column as lists of its feature type.

    Args:
        path: The file.
        kind: `csv` or `parquet`.
        types: Columns to read, with their types.
        part: Number of the part to read, from 0.
        parts: Number of parts; each is a contiguous share of every batch.

    Yields:
        Batches whose columns are lists of int64, float32 or binary.

    Raises:
        DataBlockedError: A value does not fit its type; names file, column and row.
    """
    first_row = 0
    for whole in _batches(path, kind):
        start, end = (whole.num_rows * number // parts for number in (part, part + 1))
        batch = whole.slice(start, end - start)
        columns, names = [], []
        for name, wanted in types.items():
            if name not in batch.schema.names:
                continue
            place = Place(path, name, first_row + start)
            columns.append(to_feature(batch.column(name), wanted, place))
            names.append(name)
        yield pa.RecordBatch.from_arrays(columns, names)
        first_row += whole.num_rows


def _batches(path: str, kind: str) -> Iterator[pa.RecordBatch]:
    if kind == "csv":
        for batch, _ in _csv_batches(path):
            yield batch
        return
    with _open_parquet(path) as file:
        try:
            yield from file.iter_batches(batch_size=PARQUET_ROWS)
        except (pa.ArrowException, OSError) as error:
            raise DataBlockedError(f"{path}: damaged Parquet data: {error}", _REPAIR) from error


def _open_parquet(path: str) -> pq.ParquetFile:
    try:
        # Few files have checksums; where they do, verify them.
        return pq.ParquetFile(_open(path), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise DataBlockedError(
            f"{path}: not a valid Parquet file (truncated or another format): {error}", _REPAIR
        ) from error


def _open(path: str) -> pa.NativeFile:
    filesystem, inner = (
        pafs.FileSystem.from_uri(path) if "://" in path else (pafs.LocalFileSystem(), path)
    )
    return filesystem.open_input_file(inner)


def _inspect_csv(path: str) -> dict[str, FeatureType | None]:
    columns: dict[str, TextColumn] = {}
    rows = 0
    for batch, first_row in _csv_batches(path):
        if not columns:
            columns = {name: TextColumn(Place(path, name)) for name in batch.schema.names}
        for name, column in columns.items():
            column.add(_as_text(batch.column(name), Place(path, name, first_row)), first_row)
        rows += batch.num_rows
    if rows == 0:
        raise DataBlockedError(f"{path}: has a header and no rows", _REPAIR)
    return {name: column.result() for name, column in columns.items()}


def _as_text(values: pa.Array, place: Place) -> pa.Array:
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid as error:
        for row, value in enumerate(values.to_pylist()):
            try:
                (value or b"").decode("utf-8")
            except UnicodeDecodeError:
                raise place.error(
                    "is not UTF-8 (Latin-1?); convert it, for example `iconv -f latin1 -t utf-8`",
                    row,
                    value,
                ) from error
        raise


def _csv_batches(path: str) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Batches of a CSV as binary columns, each with the number of its first row.

    Only an empty unquoted field is null; `""` is the empty string.
    """
    header = _csv_header(path)
    options = {
        "read_options": pacsv.ReadOptions(block_size=CSV_BLOCK_BYTES, encoding="utf8"),
        "parse_options": pacsv.ParseOptions(newlines_in_values=True),
        "convert_options": pacsv.ConvertOptions(
            column_types={name: pa.binary() for name in header},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            check_utf8=False,
        ),
    }
    first_row = 0
    try:
        with pacsv.open_csv(_open_text(path), **options) as reader:
            for batch in reader:
                if batch.num_rows:
                    yield batch, first_row
                first_row += batch.num_rows
    except (pa.ArrowException, OSError, EOFError, gzip.BadGzipFile) as error:
        raise DataBlockedError(f"{path}: {_csv_problem(error, header)}", _REPAIR) from error


def _csv_problem(error: Exception, header: list[str]) -> str:
    text = str(error).removeprefix("CSV parse error: ")
    if "Expected" in text and "columns" in text:
        return f"a row does not have the header's {len(header)} fields: {text[:200]}"
    return f"cannot be read as CSV: {text[:200]}"


def _open_text(path: str) -> pa.NativeFile:
    stream = _open(path)
    return pa.CompressedInputStream(stream, "gzip") if path.endswith(".gz") else stream


def _csv_header(path: str) -> list[str]:
    """The header's names; refuses files that are not CSV in UTF-8."""
    try:
        with _open_text(path) as stream:
            head = stream.read(1 << 20)
    except (pa.ArrowException, OSError) as error:
        raise DataBlockedError(f"{path}: cannot be read: {error}", _REPAIR) from error
    if not head.strip():
        raise DataBlockedError(f"{path}: empty", _REPAIR)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataBlockedError(f"{path}: encoded as UTF-16; convert it to UTF-8", _REPAIR)
    if b"\0" in head:
        raise DataBlockedError(f"{path}: contains NUL bytes, so it is not text", _REPAIR)
    # Only names are read here; a row cut by the 1 MiB limit is not an error.
    handler = pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda _: "skip")
    try:
        reader = pacsv.open_csv(
            pa.BufferReader(head),
            parse_options=handler,
            convert_options=pacsv.ConvertOptions(check_utf8=False),
        )
        names = list(reader.schema.names)
    except UnicodeDecodeError as error:
        raise DataBlockedError(f"{path}: the header is not UTF-8", _REPAIR) from error
    except pa.ArrowInvalid as error:
        raise DataBlockedError(f"{path}: no CSV header: {error}", _REPAIR) from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataBlockedError(f"{path}: the header has {twice[0]!r} more than once", _REPAIR)
    if any(not name.strip() for name in names):
        position = next(i for i, name in enumerate(names) if not name.strip())
        raise DataBlockedError(f"{path}: the header's field {position + 1} has no name", _REPAIR)
    return names
