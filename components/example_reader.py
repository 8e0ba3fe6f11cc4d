"""Reads Examples artifacts into Arrow batches, whole files at a time.

TFX reads TFRecords record by record through Beam. Here one Beam element is a split of one
artifact, and tf.data reads, decompresses and decodes it in C++, a batch at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.tfxio import dataset_options, tf_example_record

#: Rows decoded at a time: amortises the overhead per batch, small beside the model's own memory.
BATCH_ROWS = 4096


def tfxio_for(
    uri: str,
    schema: schema_pb2.Schema | None = None,
    columns: list[str] | None = None,
    raw_column: str | None = None,
) -> Any:
    """TFXIO over the files of one split.

    Args:
        uri: Folder of the split.
        schema: Schema of the examples; None to take them as they are.
        columns: Columns to decode; None for all.
        raw_column: Name of a further column that holds the serialized examples.
    """
    tfxio = tf_example_record.TFExampleRecord(
        f"{uri}/*",
        schema=schema,
        raw_record_column_name=raw_column,
        telemetry_descriptors=["ordain"],
    )
    return tfxio if columns is None else tfxio.Project(columns)


class ReadBatches(beam.PTransform):
    """Pipeline -> record batches of one split."""

    def __init__(self, tfxio: Any) -> None:
        """Takes what `tfxio_for` returned."""
        super().__init__()
        self._tfxio = tfxio

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """One impulse, one reader."""
        return (
            pipeline
            | "Split" >> beam.Create([0])
            | "Decode"
            >> beam.FlatMap(lambda _, tfxio: read_batches(tfxio), self._tfxio).with_output_types(
                pa.RecordBatch
            )
        )


def read_batches(tfxio: Any) -> Iterator[pa.RecordBatch]:
    """The record batches of one split, in the order of its files."""
    options = dataset_options.RecordBatchesOptions(
        batch_size=BATCH_ROWS, drop_final_batch=False, num_epochs=1, shuffle=False
    )
    yield from tfxio.RecordBatches(options)
