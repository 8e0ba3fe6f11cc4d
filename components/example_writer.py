"""Encodes Arrow batches as tf.Examples and writes them, split by split.

A shard appears under its final name (`data_tfrecord-00000-of-00003.gz`, as TFX names them) only
when every shard of the span is complete: until then it has a name no reader's pattern matches.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import itertools
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from google.protobuf.message import DecodeError
from tfx.dsl.io import fileio
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from components import arrow_files
from components.arrow_types import FeatureType, Place
from components.example_reader import read_records
from contracts.errors import DataBlockedError

#: gzip level 1: a third of the time of the default level for a tenth more bytes.
GZIP_LEVEL = 1
TFRECORD_BATCH = 4096
#: A file of this size is cut in two: reading it twice costs less than one process that waits.
HALVED_BYTES = 100_000
Shard = dict[str, Any]


def parts_of(path: str, kind: str) -> list[tuple[int, int]]:
    """The parts that a file's rows are cut into, so that both processes have something to do.

    Returns:
        For each its number, from 0, and how many there are.
    """
    is_large = kind != "tfrecord" and fileio.stat(path).length >= HALVED_BYTES
    return [(0, 2), (1, 2)] if is_large else [(0, 1)]


class WriteShards(beam.DoFn):
    """Reads a file, or a part of one, and writes one shard per split.

    Args:
        uri: The Examples artifact's folder.
        splits: Name and hash buckets of each output split; empty if the input is already split.
        partition_feature: Column whose value decides the split; None hashes the whole row.
        types: Feature type by column.
        required: Rows without a value in this column are left out and counted.
    """

    def __init__(
        self,
        uri: str,
        splits: Sequence[tuple[str, int]],
        partition_feature: str | None,
        types: Mapping[str, FeatureType],
        required: str | None,
    ) -> None:
        self._uri = uri
        self._names = [name for name, _ in splits]
        self._bounds = list(itertools.accumulate(buckets for _, buckets in splits))
        self._by = partition_feature
        self._types = dict(types)
        self._required = required

    def process(self, element: tuple[int, str, str, str | None, int, int]) -> Iterator[Shard]:
        """Writes the shards of one part of a file.

        Args:
            element: Index, path, format, the split's name if the input is already split, which
                part, and how many parts the file has.

        Yields:
            One record: staged path and rows by split, and the rows left out.
        """
        index, path, kind, fixed, part, parts = element
        names = [fixed] if fixed is not None else self._names
        token = uuid.uuid4().hex
        staged = {name: f"{self._uri}/Split-{name}/.staged-{index}-{token}" for name in names}
        writers: dict[str, tf.io.TFRecordWriter] = {}
        rows = dict.fromkeys(names, 0)
        left_out = 0
        options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=GZIP_LEVEL)
        try:
            for name in names:
                fileio.makedirs(f"{self._uri}/Split-{name}")
                writers[name] = tf.io.TFRecordWriter(staged[name], options)
            for records, sides, dropped in self._records(
                path, kind, fixed is not None, part, parts
            ):
                left_out += dropped
                for record, side in zip(records, sides, strict=True):
                    writers[names[side]].write(record)
                    rows[names[side]] += 1
        finally:
            for writer in writers.values():
                writer.close()
        yield {"index": index, "staged": staged, "rows": rows, "left_out": left_out}

    def _records(
        self, path: str, kind: str, is_split: bool, part: int, parts: int
    ) -> Iterator[tuple[Sequence[bytes], Sequence[int], int]]:
        """Batches of serialized tf.Examples, the side of each, and the rows left out."""
        if kind == "tfrecord":
            yield from self._existing_records(path, is_split)
            return
        encoder = RecordBatchToExamplesEncoder()
        first_row = 0
        for batch in arrow_files.read(path, kind, self._types, part, parts):
            kept, dropped = self._keep_labelled(batch, path)
            kept = _shuffled(kept, seed=first_row)
            records = encoder.encode(kept)
            if is_split:
                sides: Sequence[int] = [0] * len(records)
            elif self._by is None:
                sides = [self._side(_row_key(record)) for record in records]
            else:
                sides = self._sides_by_column(kept, path)
            yield records, sides, dropped
            first_row += batch.num_rows

    def _keep_labelled(self, batch: pa.RecordBatch, path: str) -> tuple[pa.RecordBatch, int]:
        if self._required is None:
            return batch, 0
        if self._required not in batch.schema.names:
            raise Place(path, self._required).error("the label's column is missing")
        column = batch.column(self._required)
        has_value = pc.greater(pc.fill_null(pc.list_value_length(column), 0), 0)
        kept = batch.filter(has_value)
        return kept, batch.num_rows - kept.num_rows

    def _sides_by_column(self, batch: pa.RecordBatch, path: str) -> list[int]:
        """Each distinct value is hashed once; the result is spread over its rows."""
        place = Place(path, str(self._by))
        if self._by not in batch.schema.names:
            raise place.error("the column to split by (data.split.by) is missing")
        if self._types[str(self._by)] is FeatureType.FLOAT:
            raise place.error("holds decimal numbers; data.split.by needs integers or text")
        column = batch.column(self._by)
        lengths = pc.fill_null(pc.list_value_length(column), 0)
        if pc.any(pc.not_equal(lengths, 1)).as_py():
            bad = pc.sum(pc.not_equal(lengths, 1)).as_py()
            raise place.error(f"{bad} row(s) have no single value to split by (data.split.by)")
        encoded = column.flatten().dictionary_encode()
        side_of = [self._side(_feature_key(v)) for v in encoded.dictionary.to_pylist()]
        return [side_of[i] for i in encoded.indices.to_pylist()]

    def _existing_records(
        self, path: str, is_split: bool
    ) -> Iterator[tuple[Sequence[bytes], Sequence[int], int]]:
        dataset = read_records([path]).batch(TFRECORD_BATCH)
        try:
            for batch in dataset.as_numpy_iterator():
                records, sides, dropped = [], [], 0
                for record in batch:
                    features = tf.train.Example.FromString(record).features.feature
                    if self._required is not None and not _has_value(features, self._required):
                        dropped += 1
                        continue
                    key = b"" if is_split else self._record_key(features, record, path)
                    records.append(record)
                    sides.append(0 if is_split else self._side(key))
                yield records, sides, dropped
        except (tf.errors.OpError, DecodeError) as error:
            raise DataBlockedError(
                f"{path}: not a whole TFRecord file of tf.Examples: {str(error)[:200]}",
                "replace the file",
            ) from error

    def _record_key(self, features: Any, record: bytes, path: str) -> bytes:
        if self._by is None:
            return _row_key(record)
        if not _has_value(features, self._by) or features[self._by].HasField("float_list"):
            raise Place(path, self._by).error("has no integer or text to split by")
        return bytes(features[self._by].SerializeToString(deterministic=True))

    def _side(self, key: bytes) -> int:
        """Index of the split, exactly as TFX's ExampleGen finds it (`_PartitionFn`)."""
        bucket = int(hashlib.sha256(key).hexdigest(), 16) % self._bounds[-1]
        return bisect.bisect(self._bounds, bucket)


def _shuffled(batch: pa.RecordBatch, seed: int) -> pa.RecordBatch:
    """The rows in a fixed random order: tables come sorted, and training must not.

    TFX's own ExampleGen shuffles too, in an order that changes with every run.
    """
    order = np.random.default_rng(seed).permutation(batch.num_rows)
    return batch.take(pa.array(order))


def _row_key(record: bytes) -> bytes:
    """The bytes TFX hashes for a whole row: the features in the order of their names.

    The encoder writes them in an order that changes with every call, so a hash of its bytes
    would move rows from train to eval with every run.
    """
    return bytes(tf.train.Example.FromString(record).SerializeToString(deterministic=True))


@functools.lru_cache(maxsize=65_536)
def _feature_key(value: int | bytes) -> bytes:
    """The bytes TFX hashes for a partition feature: its serialized tf.train.Feature."""
    if isinstance(value, bytes):
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    else:
        feature = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return bytes(feature.SerializeToString(deterministic=True))


def _has_value(features: Any, name: str) -> bool:
    kind = features[name].WhichOneof("kind") if name in features else None
    return kind is not None and len(getattr(features[name], kind).value) > 0


def finish(shards: Iterable[Shard], uri: str, split_names: Sequence[str]) -> None:
    """Gives the staged shards their final names and writes the row counts beside them.

    Every split gets at least one file, empty if need be: readers refuse a pattern that matches
    nothing.
    """
    ordered = sorted(shards, key=lambda shard: shard["index"])
    rows = dict.fromkeys(split_names, 0)
    for name in split_names:
        parts = [shard for shard in ordered if name in shard["staged"]]
        folder = f"{uri}/Split-{name}"
        for number, shard in enumerate(parts):
            target = f"{folder}/data_tfrecord-{number:05d}-of-{len(parts):05d}.gz"
            fileio.rename(shard["staged"][name], target, overwrite=True)
            rows[name] += shard["rows"][name]
    left_out = sum(shard["left_out"] for shard in ordered)
    with fileio.open(f"{uri}/rows.json", "w") as file:
        file.write(json.dumps({"splits": rows, "left_out": left_out}))
