"""Reads Examples artifacts into Arrow batches, whole files at a time.

TFX reads TFRecords record by record through Beam. Here tf.data reads and decompresses a split of an
artifact, and tfx_bsl decodes it, in C++ and a batch at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.types import artifact_utils
from tfx.utils import io_utils
from tfx_bsl.coders import example_coder
from tfx_bsl.tfxio import tensor_representation_util, tf_example_record

from ordain.common.commit import list_committed
from ordain.components.artifacts.fileio import FileioFiles

#: Rows decoded at a time: amortises the overhead per batch, small compared to the model's memory.
BATCH_ROWS = 4096


def untuned() -> tf.data.Options:
    """Options of a dataset with fixed parallelism.

    With autotuning, TensorFlow 2.21 waits for the tuner, for seconds, when an iterator is deleted.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def read_records(files: Iterable[str]) -> tf.data.Dataset:
    """Records of TFRecord files, in order: a dataset of scalar strings."""
    paths = list(files)
    compression = "GZIP" if all(path.endswith(".gz") for path in paths) else ""
    # Typed: TensorFlow would make floats of an empty list.
    names = tf.constant(paths, tf.string)
    return tf.data.TFRecordDataset(names, compression).with_options(untuned())


def split_files(folder: str) -> list[str]:
    """The committed files of a split, by name."""
    listing = list_committed(folder, FileioFiles())
    if listing.strays:
        logging.getLogger(__name__).warning(
            "%s: %s: not committed, not read", folder, ", ".join(listing.strays)
        )
    return list(listing.paths)


def read_schema(inputs: Mapping[str, list[Any]]) -> schema_pb2.Schema:
    """The schema among an executor's inputs."""
    folder = artifact_utils.get_single_uri(inputs["schema"])
    return io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(folder))


def strays_of(examples: Any) -> list[str]:
    """Uncommitted files in the splits' folders of an Examples artifact.

    Our nodes do not read them; TFX's components would, as they read `Split-train/*`.
    """
    folders = [
        artifact_utils.get_split_uri([examples], split)
        for split in artifact_utils.decode_split_names(examples.split_names)
    ]
    files = FileioFiles()
    return [f"{f}/{stray}" for f in folders for stray in list_committed(f, files).strays]


class Split(tf_example_record.TFExampleRecord):
    """TFXIO of the tf.Examples of one split; `batches` reads them without Beam."""

    def __init__(self, uri: str, schema: Any, raw_column: str | None) -> None:
        """Takes the arguments of `tfxio_for`, with a projected schema."""
        super().__init__(
            f"{uri}/*",
            schema=schema,
            raw_record_column_name=raw_column,
            telemetry_descriptors=["ordain"],
        )
        self._uri = uri

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The record batches, in the order of the files."""
        schema = None if self._schema is None else self._schema.SerializeToString()
        decoder = example_coder.ExamplesToRecordBatchDecoder(schema)
        files = read_records(split_files(self._uri))
        for records in files.batch(BATCH_ROWS).prefetch(1).as_numpy_iterator():
            batch = decoder.DecodeBatch(records)
            name = self.raw_record_column_name
            yield batch if name is None else _with_raw(batch, name, records)


def tfxio_for(
    uri: str,
    schema: schema_pb2.Schema | None = None,
    columns: list[str] | None = None,
    raw_column: str | None = None,
) -> Split:
    """TFXIO over the files of one split.

    Args:
        uri: Folder of the split.
        schema: Schema of the examples; None to infer features from the examples.
        columns: Columns of the schema to decode; None for all.
        raw_column: Name of a further column with the serialized examples.
    """
    if schema is not None and columns is not None:
        schema = tensor_representation_util.ProjectTensorRepresentationsInSchema(schema, columns)
    return Split(uri, schema, raw_column)


def _with_raw(batch: pa.RecordBatch, name: str, records: Any) -> pa.RecordBatch:
    """A batch with one more column: the records, `[rows] large_list<large_binary>` of one each."""
    offsets = pa.array(range(len(records) + 1), pa.int64())
    column = pa.LargeListArray.from_arrays(offsets, pa.array(records, pa.large_binary()))
    return pa.RecordBatch.from_arrays([*batch.columns, column], [*batch.schema.names, name])
