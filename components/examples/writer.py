"""Encodes Arrow batches as tf.Examples and writes them, split by split.

Each attempt writes its own shards (`ordain.common.commit`); `finish` commits those of one attempt
at each part of a file under TFX's names (`data_tfrecord-00000-of-00003.gz`).
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from google.protobuf.message import DecodeError
from tfx.dsl.io import fileio
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from ordain.common.commit import Staging, Written
from ordain.components.artifacts.record_writer import RecordWriter
from ordain.components.examples import arrow_files
from ordain.components.examples.arrow_types import FeatureType, Place
from ordain.components.examples.reader import read_records
from ordain.errors import DataBlockedError

TFRECORD_BATCH = 4096
#: Larger files are cut in two: reading one twice costs less than an idle process.
HALVED_BYTES = 100_000


@dataclass(frozen=True)
class Shards:
    """The shards of one attempt at a part of a file.

    Attributes:
        written: The shard of each split.
        left_out: Rows left out because they have no label.
    """

    written: dict[str, Written]
    left_out: int


def parts_of(path: str, kind: str) -> list[tuple[int, int]]:
    """Cuts a file's rows into parts, so that both processes have work.

    Returns:
        Number of each part, from 0, and the number of parts.
    """
    is_large = kind != "tfrecord" and fileio.stat(path).length >= HALVED_BYTES
    return [(0, 2), (1, 2)] if is_large else [(0, 1)]


class WriteShards(beam.DoFn):
    """Reads a file, or a part of one, and writes one shard per split.

    Args:
        staging: The execution's temporary folder.
        splits: Name and hash buckets of each output split; empty if the input is already split.
        partition_feature: Column whose value decides the split; None hashes the whole row.
        types: Feature type by column.
        required: Rows without a value in this column are left out and counted.
    """

    def __init__(
        self,
        staging: Staging,
        splits: Sequence[tuple[str, int]],
        partition_feature: str | None,
        types: Mapping[str, FeatureType],
        required: str | None,
    ) -> None:
        self._staging = staging
        self._names = [name for name, _ in splits]
        self._bounds = list(itertools.accumulate(buckets for _, buckets in splits))
        self._by = partition_feature
        self._types = dict(types)
        self._required = required

    def process(self, element: tuple[str, str, str | None, int, int]) -> Iterator[Shards]:
        """Writes the shards of one part of a file.

        Args:
            element: Path, format, the split's name if the input is already split, number of the
                part, and number of parts.

        Yields:
            The shards.
        """
        path, kind, fixed, part, parts = element
        names = [fixed] if fixed is not None else self._names
        left_out = 0
        with ExitStack() as stack:
            writers = [stack.enter_context(RecordWriter(self._staging)) for _ in names]
            for records, sides, dropped in self._records(
                path, kind, fixed is not None, part, parts
            ):
                left_out += dropped
                for record, side in zip(records, sides, strict=True):
                    writers[side].write(record)
        written = (writer.written() for writer in writers)
        yield Shards(dict(zip(names, written, strict=True)), left_out)

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
        """Split index of each row; hashes each distinct value once."""
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
                f"{path}: not a valid TFRecord file of tf.Examples: {str(error)[:200]}",
                "replace the file",
            ) from error

    def _record_key(self, features: Any, record: bytes, path: str) -> bytes:
        if self._by is None:
            return _row_key(record)
        if not _has_value(features, self._by) or features[self._by].HasField("float_list"):
            raise Place(path, self._by).error("has no integer or text to split by")
        return bytes(features[self._by].SerializeToString(deterministic=True))

    def _side(self, key: bytes) -> int:
        """Index of the split, exactly as in TFX's ExampleGen (`_PartitionFn`)."""
        bucket = int(hashlib.sha256(key).hexdigest(), 16) % self._bounds[-1]
        return bisect.bisect(self._bounds, bucket)


def _shuffled(batch: pa.RecordBatch, seed: int) -> pa.RecordBatch:
    """The rows in a fixed random order: tables are often sorted, and training needs shuffled rows.

    TFX's ExampleGen shuffles too, in an order that changes with every run.
    """
    order = np.random.default_rng(seed).permutation(batch.num_rows)
    return batch.take(pa.array(order))


def _row_key(record: bytes) -> bytes:
    """The bytes TFX hashes for a whole row: the features in the order of their names.

    The encoder writes them in an order that changes with every call, so hashing its bytes would
    move rows between train and eval with every run.
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


def finish(
    parts: Sequence[Shards], uri: str, split_names: Sequence[str], staging: Staging
) -> dict[str, Any]:
    """Commits the shards.

    Every split gets at least one file, possibly empty: readers refuse a pattern without matches.

    Args:
        parts: One attempt's shards of each part, in the order of the parts.
        uri: The Examples artifact's folder.
        split_names: The artifact's splits.
        staging: The execution's temporary folder.

    Returns:
        `{"splits": {name: rows}, "left_out": rows}`.
    """
    folders: dict[str, dict[str, Written]] = {}
    for name in split_names:
        shards = [part.written[name] for part in parts if name in part.written]
        folders[f"Split-{name}"] = {
            f"data_tfrecord-{number:05d}-of-{len(shards):05d}.gz": written
            for number, written in enumerate(shards)
        }
    staging.commit(uri, folders)
    rows = {
        name: sum(written.rows for written in folders[f"Split-{name}"].values())
        for name in split_names
    }
    return {"splits": rows, "left_out": sum(part.left_out for part in parts)}
