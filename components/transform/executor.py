"""Transform's executor: analyzes each span once and transforms split by split.

TFX's executor builds one Beam graph with a dozen stages per analyzer, span and split; on a window
of twelve spans that graph costs far more than the data. Here TensorFlow Transform's analyzers run
on batches and their results are cached per span; the transformation loads the finished graph once
and processes a split at a time. Spec and outputs are TFX's. Rows in and out are compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.transform import executor_utils
from tfx.components.util import udf_utils
from tfx.types import artifact_utils
from tfx.utils import json_utils
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.tfxio import tensor_to_arrow

from ordain.common.commit import Staging, Written
from ordain.components.artifacts.fileio import FileioFiles
from ordain.components.artifacts.record_writer import RecordWriter
from ordain.components.artifacts.types import Artifacts
from ordain.components.beam import worker_process
from ordain.components.beam.executor import BeamExecutor
from ordain.components.beam.prefetch import prefetch
from ordain.components.examples.example_gen import ROWS_PROPERTY, read_rows
from ordain.components.examples.reader import (
    BATCH_ROWS,
    read_records,
    read_schema,
    split_files,
    strays_of,
)
from ordain.components.transform import analysis
from ordain.errors import NodeFailedError

#: The one file of a split.
FILE = "transformed_examples-00000-of-00001.gz"


class Executor(BeamExecutor):
    """Runs the project's `preprocessing_fn` over the window."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Any) -> None:
        """See `tfx.components.transform.executor` for the contract.

        Raises:
            NodeFailedError: Rows were lost or duplicated, or the examples' folders contain files
                that were not committed.
        """
        worker_process.start()  # tracing below starts TensorFlow's threads
        examples = input_dict["examples"]
        executor_utils.MatchNumberOfTransformedExamplesArtifacts(input_dict, output_dict)
        schema = read_schema(input_dict)
        strays = [path for artifact in examples for path in strays_of(artifact)]
        if strays:
            raise NodeFailedError(
                f"{strays[0]}: not committed by ExampleGen ({len(strays)} such files)",
                "remove it, or ingest again: ordain run PROJECT --from ExampleGen --no-cache",
            )
        splits = executor_utils.ResolveSplitsConfig(exec_properties.get("splits_config"), examples)
        graph = artifact_utils.get_single_uri(output_dict["transform_graph"])
        old_cache, new_cache = (
            found[0].uri if (found := group.get(key)) else None
            for group, key in (
                (input_dict, "analyzer_cache"),
                (output_dict, "updated_analyzer_cache"),
            )
        )
        with Staging(graph, FileioFiles()) as staging:
            analysis.analyze(
                self._pipeline,
                self._spread,
                {
                    _dataset_key(a, split): artifact_utils.get_split_uri([a], split)
                    for split in splits.analyze
                    for a in examples
                },
                schema,
                _preprocessing_fn(exec_properties),
                graph,
                staging,
                old_cache,
                new_cache,
            )
            # TFX has them in a set, whose order differs between processes.
            transformed = sorted(splits.transform, reverse=True)
            self._transform(transformed, examples, output_dict, graph, staging)

    def _transform(
        self,
        splits: list[str],
        examples: list[Any],
        output_dict: Artifacts,
        graph: str,
        staging: Staging,
    ) -> None:
        results = output_dict.get("transformed_examples") or []
        executor_utils.SetSplitNames(splits, results)
        pairs = list(zip(examples, results, strict=False))
        folders = [
            artifact_utils.get_split_uri([source], split) for source, _ in pairs for split in splits
        ]
        done = iter(self._spread(TransformSplit(graph, staging), folders, staging))
        for source, target in pairs:
            written = {split: next(done) for split in splits}
            expected = read_rows(source).get("splits", {})
            for split, file in written.items():
                if file.rows != expected.get(split, file.rows):
                    raise NodeFailedError(
                        f"Transform lost rows: span {source.span}, split {split!r}: "
                        f"{expected[split]} ingested, {file.rows} transformed",
                        "run again with one Beam worker (beam_args in pipeline.yaml)",
                    )
            staging.commit(target.uri, {f"Split-{s}": {FILE: f} for s, f in written.items()})
            target.span = source.span
            rows = {"splits": {s: f.rows for s, f in written.items()}, "left_out": 0}
            target.set_string_custom_property(ROWS_PROPERTY, json.dumps(rows, sort_keys=True))


class TransformSplit(beam.DoFn):
    """Applies a finished transform graph to all files of a split."""

    def __init__(self, graph: str, staging: Staging) -> None:
        """Takes the folder of the TransformGraph artifact and the execution's temporary folder."""
        self._graph = graph
        self._staging = staging

    def setup(self) -> None:
        """Loads the graph once per worker."""
        output = tft.TFTransformOutput(self._graph)
        layer = output.transform_features_layer()
        spec = output.raw_feature_spec()

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
        def apply(records: tf.Tensor) -> dict[str, Any]:
            return dict(layer(tf.io.parse_example(records, spec)))

        self._apply, self._layer = apply, layer
        self._converter = tensor_to_arrow.TensorsToRecordBatchConverter(
            {
                name: tf.type_spec_from_value(value)
                for name, value in apply.get_concrete_function().structured_outputs.items()
            }
        )
        self._encoder = RecordBatchToExamplesEncoder(output.transformed_metadata.schema)

    def process(self, source: str) -> Iterator[Written]:
        """Writes the examples of one split.

        Args:
            source: Folder to read from.

        Yields:
            The file written.
        """
        batches = read_records(split_files(source)).batch(BATCH_ROWS)
        with RecordWriter(self._staging) as writer:
            for tensors in prefetch(map(self._apply, batches)):
                for record in self._encoder.encode(self._converter.convert(tensors)):
                    writer.write(record)
        yield writer.written()


def _preprocessing_fn(exec_properties: dict[str, Any]) -> Any:
    """The project's function, with `custom_config` bound if it has such a parameter, as in TFX."""
    function = udf_utils.get_fn(exec_properties, "preprocessing_fn")
    config = json_utils.loads(exec_properties.get("custom_config") or "null") or {}
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    if "custom_config" not in names:
        return function
    return lambda inputs: function(inputs, custom_config=config)


def _dataset_key(artifact: Any, split: str) -> str:
    """Name of a split's data in the cache; changes when the span is ingested again.

    It uses the end of the URI (node, key, execution): the rest changes when the workspace is moved.
    """
    made_by = "/".join(artifact.uri.split("/")[-3:])
    digest = hashlib.sha256(f"{made_by}/{split}".encode()).hexdigest()[:16]
    return f"span-{artifact.span}-{split}-{digest}"
