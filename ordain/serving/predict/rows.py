"""Reads rows from JSON, CSV and Parquet files, and writes them with a model's outputs."""

from __future__ import annotations

import fcntl
import glob
import json
import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from ordain.errors import ConfigError, DataBlockedError
from ordain.serving.server.codec.tensors import TensorSpec

READ = (".json", ".jsonl", ".csv", ".csv.gz", ".parquet")
WRITTEN = (".json", ".jsonl", ".csv", ".parquet")


def format_of(path: Path, known: tuple[str, ...]) -> str:
    """The format of a file, by its name's suffix.

    Raises:
        ConfigError: The suffix is not one of those known.
    """
    found = [suffix for suffix in known if path.name.lower().endswith(suffix)]
    if not found:
        raise ConfigError(f"{path}: the name must end in {', '.join(known)}")
    return found[0]


def read_batches(
    path: Path, inputs: Mapping[str, TensorSpec], size: int
) -> Iterator[pa.RecordBatch]:
    """Reads the rows of a file, `size` at a time.

    Args:
        path: The file.
        inputs: Inputs of the signature: columns of CSV, which has no types, get the inputs' types.
        size: Rows in a batch; the last one may have fewer.

    Raises:
        ConfigError: There is no such file, or its suffix is unknown.
        DataBlockedError: It cannot be read in the format of its suffix.
    """
    form = format_of(path, READ)
    if not path.is_file():
        raise ConfigError(f"--input: {path} is not a file")
    try:
        if form == ".parquet":
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(size)
        elif form.startswith(".csv"):
            for batch in _read_csv(path, inputs):
                yield from pa.Table.from_batches([batch]).to_batches(size)
        else:
            yield from pa.Table.from_pylist(_read_json(path, form)).to_batches(size)
    except (pa.ArrowException, ValueError, UnicodeDecodeError) as error:
        raise DataBlockedError(f"{path} cannot be read: {error}") from error


def _read_csv(path: Path, inputs: Mapping[str, TensorSpec]) -> Iterator[pa.RecordBatch]:
    with pacsv.open_csv(path) as probe:
        names = probe.schema.names
    types = {n: _arrow_type(inputs[n]) if n in inputs else pa.string() for n in names}
    options = pacsv.ConvertOptions(column_types=types, strings_can_be_null=True)
    with pacsv.open_csv(path, convert_options=options) as reader:
        yield from reader


def _arrow_type(spec: TensorSpec) -> pa.DataType:
    family = spec.type.numpy.kind
    return {"O": pa.string(), "f": pa.float64(), "b": pa.bool_()}.get(family, pa.int64())


def _read_json(path: Path, form: str) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    if form == ".jsonl":
        rows: Any = [json.loads(line) for line in text.splitlines() if line.strip()]
    else:
        document = json.loads(text)
        rows = document.get("instances") if isinstance(document, dict) else document
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError('expected a list of objects, or {"instances": [...]}')
    return rows


class RowWriter:
    """Writes batches to a file, atomically, or to a stream as JSON lines.

    At every instant there is the new file or the old one. Without a batch the new one is empty.
    """

    def __init__(self, path: Path | None, stream: TextIO | None = None) -> None:
        self._path = path
        self._form = format_of(path, WRITTEN) if path is not None else ".jsonl"
        self._stream = stream if stream is not None else sys.stdout
        self._part: Path | None = None
        self._writer: Any = None
        self._schema: pa.Schema | None = None
        self._rows = 0

    def __enter__(self) -> RowWriter:
        """Opens a temporary file beside the target, separate from those of other processes."""
        if self._path is None:
            return self
        prefix = f".{self._path.name}."
        for left in self._path.parent.glob(f"{glob.escape(prefix)}*.part"):
            _remove_if_dead(left)
        self._part = self._path.with_name(f"{prefix}{uuid.uuid4().hex[:8]}.part")
        self._lock = os.open(self._part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if self._form.startswith(".json"):
            self._stream = self._part.open("w", encoding="utf-8")
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Moves the file to its target, or removes it after an error."""
        del rest
        if self._part is None or self._path is None:
            return
        try:
            self._close()
            if kind is None:
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)
            os.close(self._lock)

    def _close(self) -> None:
        if self._form == ".json":
            self._stream.write("\n]\n" if self._rows else "[]\n")
        if self._form.startswith(".json"):
            self._stream.close()
        elif self._writer is not None:
            self._writer.close()
        elif self._form == ".parquet":
            pq.write_table(pa.table({}), self._part)

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends rows."""
        if self._form.startswith(".json"):
            self._write_json(batch)
            return
        if self._form == ".csv":
            batch = _flat(batch)
        if self._writer is None:
            make = pacsv.CSVWriter if self._form == ".csv" else pq.ParquetWriter
            self._schema = batch.schema
            self._writer = make(str(self._part), self._schema)
        # A column that is null in a whole batch has the type null.
        self._writer.write_batch(batch.cast(self._schema))
        self._rows += batch.num_rows

    def _write_json(self, batch: pa.RecordBatch) -> None:
        for row in batch.to_pylist():
            before = "" if self._form == ".jsonl" else ",\n" if self._rows else "[\n"
            after = "\n" if self._form == ".jsonl" else ""
            text = json.dumps(row, ensure_ascii=False, default=_json_value)
            self._stream.write(before + text + after)
            self._rows += 1


def _remove_if_dead(part: Path) -> None:
    """Removes the temporary file of a killed process; a live process holds a lock on it."""
    try:
        descriptor = os.open(part, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.unlink(missing_ok=True)
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)


def _flat(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Converts lists to JSON strings, for cells of CSV."""
    columns = [
        pa.array([None if v is None else json.dumps(v, default=_json_value) for v in c.to_pylist()])
        if pa.types.is_nested(c.type)
        else c
        for c in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _json_value(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
