"""Updates a frozen schema from new data."""

from __future__ import annotations

from pathlib import Path

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2

from ordain.components.schema_inference import relax_schema, retyped_features


def propose(
    frozen: schema_pb2.Schema, statistics: Path
) -> tuple[schema_pb2.Schema, dict[str, tuple[str, str]]]:
    """Relaxes and extends a frozen schema until the measured data has no anomalies.

    Args:
        frozen: The frozen schema; not changed.
        statistics: Folder of an ExampleStatistics artifact.

    Returns:
        The updated schema, and the types in the schema and in the data of features where they
        differ.
    """
    paths = sorted(statistics.glob("Split-*/FeatureStats.pb"))
    measured = [tfdv.load_stats_binary(str(path)) for path in paths]
    measured = [m for m in measured if any(dataset.num_examples for dataset in m.datasets)]
    return relax_schema(frozen, measured), retyped_features(frozen, measured)
