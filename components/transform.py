"""Transform's executor, with the conservation check: rows in = rows out, split by split."""

from __future__ import annotations

import json
from typing import Any

import tensorflow as tf
from tfx.components.transform import executor as transform_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.example_gen import ROWS_PROPERTY, read_rows
from contracts.errors import NodeFailedError


class Executor(transform_executor.Executor):
    """TFX's own, followed by a count of what it wrote."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `tfx.components.transform.executor`.

        Raises:
            NodeFailedError: Rows were lost or doubled (tensorflow/data-validation#247 is such
                a case).
        """
        super().Do(input_dict, output_dict, exec_properties)
        pairs = zip(input_dict["examples"], output_dict["transformed_examples"], strict=True)
        for source, result in pairs:
            expected = read_rows(source).get("splits", {})
            written = {}
            for split in artifact_utils.decode_split_names(result.split_names):
                written[split] = _count(artifact_utils.get_split_uri([result], split))
                if split in expected and written[split] != expected[split]:
                    raise NodeFailedError(
                        f"Transform lost rows: span {source.span}, split {split!r}: "
                        f"{expected[split]} ingested, {written[split]} transformed",
                        "run again with one Beam worker (beam_args in pipeline.yaml)",
                    )
            # TFX leaves the transformed artifact without the span it came from.
            result.span = source.span
            result.set_string_custom_property(
                ROWS_PROPERTY, json.dumps({"splits": written, "left_out": 0}, sort_keys=True)
            )


def _count(uri: str) -> int:
    files = [f"{uri}/{name}" for name in fileio.listdir(uri)]
    dataset = tf.data.TFRecordDataset(files, "GZIP", num_parallel_reads=2)
    return int(dataset.batch(4096).reduce(0, lambda n, batch: n + tf.size(batch)).numpy())

