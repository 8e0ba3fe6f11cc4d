"""What the data would change in a curated schema, by TFDV's own rules."""

from __future__ import annotations

from pathlib import Path

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2


def propose(frozen: schema_pb2.Schema, statistics: Path) -> schema_pb2.Schema:
    """The frozen schema, relaxed and extended until the measured data is free of anomalies.

    Args:
        frozen: The curated schema; not changed.
        statistics: Folder of an ExampleStatistics artifact.
    """
    proposed = schema_pb2.Schema()
    proposed.CopyFrom(frozen)
    for path in sorted(statistics.glob("Split-*/FeatureStats.pb")):
        measured = tfdv.load_stats_binary(str(path))
        if any(dataset.num_examples for dataset in measured.datasets):
            proposed = tfdv.update_schema(proposed, measured)
    return proposed
