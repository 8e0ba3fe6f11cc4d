"""Transform's executor: analyze each span once, transform file by file, lose no row.

TFX's own builds one Beam graph with a dozen stages per analyzer, span and split; on a window of
twelve spans that graph costs far more than the data. Here the analysis is TensorFlow
Transform's, on batches, with each span's results kept for later runs; the transformation is one
Beam step that loads the finished graph and takes a split at a time. Spec and outputs are TFX's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.beam import analysis_graph_builder
from tensorflow_transform.beam import analyzer_cache as tft_cache
from tfx.components.transform import executor_utils
from tfx.components.util import udf_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, json_utils
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.tfxio import tensor_to_arrow

from components import analyzer_cache
from components.beam_errors import restored
from components.example_gen import ROWS_PROPERTY, read_rows
from components.example_reader import BATCH_ROWS, ReadBatches, tfxio_for
from components.example_writer import GZIP_LEVEL
from contracts.errors import NodeFailedError


class Executor(base_beam_executor.BaseBeamExecutor):
    """Runs the project's `preprocessing_fn` over the window."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `tfx.components.transform.executor` for the contract.

        Raises:
            NodeFailedError: Rows were lost or doubled on the way.
        """
        examples = input_dict["examples"]
        executor_utils.MatchNumberOfTransformedExamplesArtifacts(input_dict, output_dict)
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict["schema"]))
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
        with restored():
            self._analyze(
                [(a, split) for split in splits.analyze for a in examples],
                schema,
                _preprocessing_fn(exec_properties),
                graph,
                old_cache,
                new_cache,
            )
            self._transform(list(splits.transform), examples, output_dict, graph)

    def _analyze(
        self,
        sources: list[tuple[Any, str]],
        schema: Any,
        preprocessing_fn: Any,
        graph: str,
        old_cache: str | None,
        new_cache: str | None,
    ) -> None:
        uris = {_dataset_key(a, s): artifact_utils.get_split_uri([a], s) for a, s in sources}
        first = tfxio_for(next(iter(uris.values())), schema)
        specs = first.TensorAdapter().OriginalTypeSpecs()
        columns = sorted(tft.get_analyze_input_columns(preprocessing_fn, specs))
        known = analyzer_cache.read_entries(old_cache, uris)
        temporary = f"{graph}/.temp"
        with (
            self._make_beam_pipeline() as pipeline,
            tft_beam.Context(temp_dir=temporary, use_deep_copy_optimization=True),
        ):
            cached = analyzer_cache.to_beam(known, pipeline)
            keys = [tft_cache.DatasetKey(name) for name in uris]
            unread = analysis_graph_builder.get_analysis_dataset_keys(
                preprocessing_fn, specs, frozenset(keys), cached, force_tf_compat_v1=False
            )
            data: dict[Any, Any] = {}
            for number, key in enumerate(keys):
                if key in unread:
                    tfxio = tfxio_for(uris[key.key], schema, columns)
                    data[key] = pipeline | f"Read[{number}]" >> ReadBatches(tfxio)
                else:
                    data[key] = None
            adapter = first.Project(columns).TensorAdapterConfig()
            transform_fn, computed = (data, cached, adapter) | tft_beam.AnalyzeDatasetWithCache(
                preprocessing_fn, pipeline=pipeline
            )
            metadata = tft.DatasetMetadata(schema)
            raw_folder = f"{graph}/{tft.TFTransformOutput.RAW_METADATA_DIR}"
            _ = metadata | tft_beam.WriteMetadata(raw_folder, pipeline)
            _ = transform_fn | tft_beam.WriteTransformFn(graph)
            if new_cache is not None:
                analyzer_cache.write_entries(computed or {}, known, new_cache, pipeline)
        if fileio.exists(temporary):
            fileio.rmtree(temporary)

    def _transform(
        self, splits: list[str], examples: list[Any], output_dict: dict[str, list[Any]], graph: str
    ) -> None:
        results = output_dict.get("transformed_examples") or []
        executor_utils.SetSplitNames(splits, results)
        work = [
            (artifact_utils.get_split_uri([source], s), artifact_utils.get_split_uri([target], s))
            for source, target in zip(examples, results, strict=False)
            for s in splits
        ]
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Splits" >> beam.Create(work)
                | "Spread" >> beam.Reshuffle()
                | "Transform" >> beam.ParDo(TransformSplit(graph))
            )
        for source, target in zip(examples, results, strict=False):
            written = {s: _rows_of(artifact_utils.get_split_uri([target], s)) for s in splits}
            expected = read_rows(source).get("splits", {})
            for split, count in written.items():
                if count != expected.get(split, count):
                    raise NodeFailedError(
                        f"Transform lost rows: span {source.span}, split {split!r}: "
                        f"{expected[split]} ingested, {count} transformed",
                        "run again with one Beam worker (beam_args in pipeline.yaml)",
                    )
            target.span = source.span
            rows = {"splits": written, "left_out": 0}
            target.set_string_custom_property(ROWS_PROPERTY, json.dumps(rows, sort_keys=True))


class TransformSplit(beam.DoFn):
    """Applies a finished transform graph to all files of a split."""

    def __init__(self, graph: str) -> None:
        """Takes the folder of the TransformGraph artifact."""
        self._graph = graph

    def setup(self) -> None:
        """Loads the graph once per worker."""
        output = tft.TFTransformOutput(self._graph)
        layer = output.transform_features_layer()
        spec = output.raw_feature_spec()

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
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

    def process(self, element: tuple[str, str]) -> Iterator[str]:
        """Writes one split.

        Args:
            element: Folders to read from and to write into.

        Yields:
            The folder written.
        """
        source, target = element
        fileio.makedirs(target)
        files = sorted(f"{source}/{name}" for name in fileio.listdir(source))
        options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=GZIP_LEVEL)
        path = f"{target}/transformed_examples-00000-of-00001.gz"
        with tf.io.TFRecordWriter(path, options) as writer:
            for records in tf.data.TFRecordDataset(files, "GZIP").batch(BATCH_ROWS):
                batch = self._converter.convert(self._apply(records))
                for record in self._encoder.encode(batch):
                    writer.write(record)
        yield target


def _preprocessing_fn(exec_properties: dict[str, Any]) -> Any:
    """The project's function, given `custom_config` if it asks for it, as TFX does."""
    function = udf_utils.get_fn(exec_properties, "preprocessing_fn")
    config = json_utils.loads(exec_properties.get("custom_config") or "null") or {}
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    if "custom_config" not in names:
        return function
    return lambda inputs: function(inputs, custom_config=config)


def _dataset_key(artifact: Any, split: str) -> str:
    """Names a span's data in the cache; changes when the span is ingested anew."""
    digest = hashlib.sha256(f"{artifact.uri}/{split}".encode()).hexdigest()[:16]
    return f"span-{artifact.span}-{split}-{digest}"


def _rows_of(uri: str) -> int:
    files = [f"{uri}/{name}" for name in fileio.listdir(uri)]
    dataset = tf.data.TFRecordDataset(files, "GZIP", num_parallel_reads=2)
    return int(dataset.batch(BATCH_ROWS).reduce(0, lambda n, batch: n + tf.size(batch)).numpy())
