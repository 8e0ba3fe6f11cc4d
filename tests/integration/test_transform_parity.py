"""Our analysis beside TensorFlow Transform's own, on the same data: the same graph comes out.

This file is also the module file of the executor under test: `preprocessing_fn` at the end picks
one of the functions here by `custom_config`.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_transform.tf_metadata import dataset_metadata
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from ordain.components.examples.example_gen import ROWS_PROPERTY
from ordain.components.examples.reader import Split, tfxio_for
from ordain.components.transform import executor as transform
from ordain.components.transform.analyzer_cache import read_entries
from ordain.config.project import DEFAULT_BEAM_ARGS
from ordain.errors import NodeFailedError

SPEC = {
    "x": tf.io.FixedLenFeature([], tf.float32),
    "n": tf.io.FixedLenFeature([], tf.int64),
    "w": tf.io.FixedLenFeature([], tf.float32),
    "v": tf.io.FixedLenFeature([3], tf.float32),
    "s": tf.io.FixedLenFeature([], tf.string),
    "k": tf.io.FixedLenFeature([], tf.string),
    "y": tf.io.FixedLenFeature([], tf.int64),
    "tags": tf.io.VarLenFeature(tf.string),
}


def spread(value: tf.Tensor, inputs: dict[str, Any]) -> tf.Tensor:
    """A constant as a feature: repeated for each row."""
    flat = tf.reshape(tf.cast(value, tf.float32), [1, -1])
    return tf.tile(flat, [tf.shape(inputs["x"])[0], 1])


def combiners(inputs: dict[str, Any]) -> dict[str, Any]:
    x, n, w, v, k = (inputs[name] for name in ("x", "n", "w", "v", "k"))
    outputs = {
        "z": tft.scale_to_z_score(x),
        "z_columns": tft.scale_to_z_score(v, elementwise=True),
        "z_key": tft.scale_to_z_score_per_key(x, k),
        "unit": tft.scale_to_0_1(x),
        "unit_key": tft.scale_to_0_1_per_key(x, k),
        "bucket": tft.bucketize(x, 7),
        "bucket_weighted": tft.bucketize(x, 5, weights=w),
        "bucket_key": tft.bucketize_per_key(x, k, 3),
        "projected": tf.linalg.matmul(v, tft.pca(v, 2, tf.float32)),
    }
    constants = {
        "mean": tft.mean(n),
        "variance": tft.var(x),
        "least": tft.min(n),
        "most": tft.max(v, reduce_instance_dims=False),
        "sum": tft.sum(w),
        "size": tft.size(x),
        "quantiles": tft.quantiles(x, 9, epsilon=0.01),
        "quantiles_weighted": tft.quantiles(x, 4, epsilon=0.01, weights=w),
        "covariance": tft.covariance(v, tf.float32),
        "nonzero": tft.count_per_key(k)[1],
    }
    return outputs | {name: spread(value, inputs) for name, value in constants.items()}


def vocabularies(inputs: dict[str, Any]) -> dict[str, Any]:
    s, n, w, y, tags = (inputs[name] for name in ("s", "n", "w", "y", "tags"))

    def words(x: Any, name: str, **options: Any) -> tf.Tensor:
        return tft.compute_and_apply_vocabulary(x, vocab_filename=name, **options)

    outputs = {
        "top": words(s, "top", top_k=4, num_oov_buckets=2),
        "frequent": words(s, "frequent", frequency_threshold=12, default_value=-7),
        "numbers": words(n, "numbers", top_k=5),
        "weighted": words(s, "weighted", weights=w, fingerprint_shuffle=True),
        "empty": words(s, "empty", frequency_threshold=10_000, file_format="tfrecord_gzip"),
        "informed": words(s, "informed", labels=y, min_diff_from_avg=0.0),
        "adjusted": words(s, "adjusted", labels=y, weights=w, use_adjusted_mutual_info=True),
        "covered": words(s, "covered", top_k=2, coverage_top_k=1, key_fn=lambda token: token[:1]),
        "reserved": words(s, "reserved", reserved_tokens=["<pad>", "a1"]),
        "tags": words(tags, "tags"),
    }
    tft.vocabulary(s, vocab_filename="counted", store_frequency=True)
    tft.experimental.approximate_vocabulary(s, top_k=50, vocab_filename="approximate")
    size = tft.experimental.get_vocabulary_size_by_name("frequent")
    return outputs | {"size": spread(size, inputs)}


def two_phases(inputs: dict[str, Any]) -> dict[str, Any]:
    unit = tft.scale_to_0_1(inputs["x"])
    bucket = tft.bucketize(tft.scale_to_z_score(unit), 4)
    index = tft.compute_and_apply_vocabulary(inputs["s"], vocab_filename="first")
    return {
        "bucket": bucket,
        # Neither can be cached: TFT has no coder for the one, and the other's key varies.
        "gauss": tft.scale_to_gaussian(inputs["x"]),
        "histogram": spread(tft.histogram(inputs["x"], boundaries=4)[0], inputs),
        "joined": tft.compute_and_apply_vocabulary(
            tf.strings.join([tf.strings.as_string(bucket), tf.strings.as_string(index)], "-"),
            vocab_filename="second",
        ),
    }


def one_of_each(inputs: dict[str, Any]) -> dict[str, Any]:
    x, s, w, y, k = (inputs[name] for name in ("x", "s", "w", "y", "k"))
    return {
        "z": tft.scale_to_z_score(x),
        "z_columns": tft.scale_to_z_score(inputs["v"], elementwise=True),
        "z_key": tft.scale_to_z_score_per_key(x, k),
        "bucket": tft.bucketize(x, 7),
        "covariance": spread(tft.covariance(inputs["v"], tf.float32), inputs),
        "numbers": tft.compute_and_apply_vocabulary(inputs["n"], vocab_filename="numbers"),
        "weighted": tft.compute_and_apply_vocabulary(s, weights=w, vocab_filename="weighted"),
        "informed": tft.compute_and_apply_vocabulary(s, labels=y, vocab_filename="informed"),
    }


class Largest(beam.PTransform):
    """An analyzer of a project's own, in Beam."""

    def expand(self, batches: Any) -> Any:
        return (
            batches
            | beam.Map(lambda values: float(values[0].max()))
            | beam.CombineGlobally(max)
            | beam.Map(np.float32)
        )


def own_transform(inputs: dict[str, Any]) -> dict[str, Any]:
    (largest,) = tft.experimental.ptransform_analyzer(
        [inputs["x"]], Largest(), output_dtypes=[tf.float32], output_shapes=[[]]
    )
    return {"share": inputs["x"] / largest, "z": tft.scale_to_z_score(inputs["x"])}


def no_analyzers(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"twice": inputs["x"] * 2}


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    return globals()[custom_config["case"]](inputs)


def rows(span: int, count: int) -> list[dict[str, Any]]:
    source = np.random.default_rng(span)
    made = []
    for _ in range(count):
        token = f"{'abc'[source.integers(3)]}{min(source.geometric(0.4), 6)}"
        made.append(
            {
                "x": float(np.round(source.normal(span, 3), 3)),
                "n": int(source.integers(-3, 9)),
                "w": float(source.integers(1, 4)),
                "v": [float(value) for value in source.normal(0, (1, 2, 3))],
                "s": token,
                "k": "pq"[source.integers(2)],
                "y": int(source.random() < (0.8 if token[0] == "a" else 0.3)),
                "tags": [f"t{source.integers(5)}" for _ in range(source.integers(3))],
            }
        )
    return made


def write_examples(folder: Path, made: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "data_tfrecord-00000-of-00001.gz"), "GZIP") as writer:
        for row in made:
            example = tf.train.Example()
            for name, value in row.items():
                values = value if isinstance(value, list) else [value]
                feature = example.features.feature[name]
                if SPEC[name].dtype == tf.string:
                    feature.bytes_list.value.extend(v.encode() for v in values)
                elif SPEC[name].dtype == tf.int64:
                    feature.int64_list.value.extend(values)
                else:
                    feature.float_list.value.extend(values)
            writer.write(example.SerializeToString())


class Window:
    """Spans of examples, and the executor run over some of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        schema = dataset_metadata.DatasetMetadata.from_feature_spec(SPEC).schema
        io_utils.write_pbtxt_file(str(folder / "schema" / "schema.pbtxt"), schema)
        self.schema = schema
        for span in (1, 2, 3):
            write_examples(folder / f"span{span}" / "Split-train", rows(span, 150 + 10 * span))
            write_examples(folder / f"span{span}" / "Split-eval", rows(10 + span, 40))

    def source(self, span: int) -> Any:
        artifact = _artifact(standard_artifacts.Examples, self.folder / f"span{span}")
        artifact.split_names = '["train", "eval"]'
        artifact.span = span
        artifact.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
        artifact.set_string_custom_property("file_format", "tfrecords_gzip")
        counts = {"train": 150 + 10 * span, "eval": 40}
        artifact.set_string_custom_property(ROWS_PROPERTY, json.dumps({"splits": counts}))
        return artifact

    def run(
        self, case: str, name: str, spans: tuple[int, ...] = (1, 2), cache: str | None = None
    ) -> Result:
        """Runs our executor; `cache` names the run whose analyzer cache it gets."""
        folder = self.folder / name
        inputs = {
            "examples": [self.source(span) for span in spans],
            "schema": [_artifact(standard_artifacts.Schema, self.folder / "schema")],
        }
        if cache is not None:
            inputs["analyzer_cache"] = [
                _artifact(standard_artifacts.TransformCache, self.folder / cache / "cache")
            ]
        targets = [
            _artifact(standard_artifacts.Examples, folder / f"examples{span}") for span in spans
        ]
        outputs = {
            "transform_graph": [_artifact(standard_artifacts.TransformGraph, folder / "graph")],
            "transformed_examples": targets,
            "updated_analyzer_cache": [
                _artifact(standard_artifacts.TransformCache, folder / "cache")
            ],
        }
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=list(DEFAULT_BEAM_ARGS), tmp_dir=str(folder / "t"), unique_id="1"
        )
        transform.Executor(context).Do(
            inputs,
            outputs,
            {
                "module_file": __file__,
                "disable_statistics": 1,
                "custom_config": json.dumps({"case": case}),
            },
        )
        return Result(folder, targets)

    def stock(self, case: str, spans: tuple[int, ...] = (1, 2)) -> tft.TFTransformOutput:
        """What TFT's `AnalyzeDataset` makes of the same train splits."""
        folder = self.folder / f"stock-{case}-{spans}"
        options = PipelineOptions(list(DEFAULT_BEAM_ARGS))
        with (
            beam.Pipeline(options=options) as pipeline,
            # Without deep copies FnApiRunner gives up on a graph of several phases.
            tft_beam.Context(temp_dir=str(folder / "temp"), use_deep_copy_optimization=True),
        ):
            splits = [
                tfxio_for(str(self.folder / f"span{span}" / "Split-train"), self.schema)
                for span in spans
            ]
            read = beam.FlatMap(Split.batches).with_output_types(pa.RecordBatch)
            data = pipeline | "Splits" >> beam.Create(splits) | "Read" >> read
            analyzed = (data, splits[0].TensorAdapterConfig()) | tft_beam.AnalyzeDataset(
                globals()[case]
            )
            _ = analyzed | tft_beam.WriteTransformFn(str(folder))
        return tft.TFTransformOutput(str(folder))


class Result:
    """What a run of the executor left."""

    def __init__(self, folder: Path, examples: list[Any]) -> None:
        self.folder, self.examples = folder, examples
        self.output = tft.TFTransformOutput(str(folder / "graph"))

    def transformed(self, split: str) -> dict[str, np.ndarray]:
        """The transformed examples of all spans, as the Trainer reads them."""
        files = [
            str(path)
            for artifact in self.examples
            for path in sorted((Path(artifact.uri) / f"Split-{split}").iterdir())
        ]
        dataset = tf.data.TFRecordDataset(files, "GZIP").batch(10_000)
        (records,) = list(dataset)
        parsed = tf.io.parse_example(records, self.output.transformed_feature_spec())
        return {name: _dense(value) for name, value in parsed.items()}


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Window:
    return Window(tmp_path_factory.mktemp("window"))


@pytest.fixture
def analyzed(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the log says about how many datasets were analyzed."""
    ours = "ordain.components.transform.analysis"
    caplog.set_level(logging.INFO, logger=ours)
    return lambda: [r.getMessage() for r in caplog.records if r.name == ours]


def _artifact(kind: Any, folder: Path) -> Any:
    artifact = kind()
    artifact.uri = str(folder)
    return artifact


def _dense(value: Any) -> np.ndarray:
    return np.asarray(tf.sparse.to_dense(value) if isinstance(value, tf.SparseTensor) else value)


def _raw(window: Window, split: str, spans: tuple[int, ...]) -> dict[str, Any]:
    files = [
        str(path)
        for span in spans
        for path in (window.folder / f"span{span}" / f"Split-{split}").iterdir()
    ]
    (records,) = list(tf.data.TFRecordDataset(files, "GZIP").batch(10_000))
    return tf.io.parse_example(records, SPEC)


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        one, other = np.squeeze(found[name]), np.squeeze(_dense(value))
        # Rounding only: Beam adds the same numbers up in another order.
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=name)


def assets(output: tft.TFTransformOutput) -> dict[str, Any]:
    """Vocabulary files by name; compressed ones as the records they hold."""
    folder = Path(output.transform_savedmodel_dir) / "assets"
    return {
        path.name: (
            [r.numpy() for r in tf.data.TFRecordDataset(str(path), "GZIP")]
            if path.suffix == ".gz"
            else path.read_bytes()
        )
        for path in folder.glob("*")
    }


@pytest.mark.parametrize("case", ["combiners", "vocabularies", "two_phases", "no_analyzers"])
def test_graph_and_examples_are_those_of_tft(window, analyzed, case):
    ours = window.run(case, f"plain-{case}")
    stock = window.stock(case)
    assert not any("own Beam graph" in line for line in analyzed()), "this compares the fallback"
    assert assets(ours.output) == assets(stock)
    assert bool(assets(stock)) == (case in ("vocabularies", "two_phases"))
    for split in ("train", "eval"):
        expected = stock.transform_features_layer()(_raw(window, split, (1, 2)))
        assert_same(ours.transformed(split), expected)
    found, wanted = (o.transformed_metadata.schema for o in (ours.output, stock))
    assert found == wanted
    assert ours.output.raw_metadata.schema == window.schema
    assert not list((ours.folder / "graph").glob(".*")), "temporary files are left"


def test_unknown_analyzer_takes_tfts_own_way(window, analyzed):
    ours = window.run("own_transform", "own")
    (line,) = [line for line in analyzed() if "own Beam graph" in line]
    assert "PTransform" in line
    stock = window.stock("own_transform")
    assert_same(
        ours.transformed("train"), stock.transform_features_layer()(_raw(window, "train", (1, 2)))
    )


def test_moved_window_analyzes_the_new_span_only(window, analyzed):
    window.run("one_of_each", "before", (1, 2))
    # Proof that the old span is not read for the analysis: there is nothing to read any more,
    # which only the transformation minds, behind it.
    examples = window.folder / "span2" / "Split-train"
    hidden = examples.rename(examples.with_name("hidden"))
    write_examples(examples, [])
    try:
        with pytest.raises(NodeFailedError, match="span 2, split 'train': 170 ingested, 0"):
            window.run("one_of_each", "moved", (2, 3), cache="before")
    finally:
        shutil.rmtree(examples)
        hidden.rename(examples)
    assert analyzed() == ["analyzing 2 of 2 datasets", "analyzing 1 of 2 datasets"]
    moved = tft.TFTransformOutput(str(window.folder / "moved" / "graph"))
    fresh = window.run("one_of_each", "fresh", (2, 3))
    assert assets(moved) == assets(fresh.output)
    layer = moved.transform_features_layer()
    expected = fresh.transformed("train")
    assert_same(
        {key: _dense(value) for key, value in layer(_raw(window, "train", (2, 3))).items()},
        expected,
    )
    assert len(expected["z"]) == 170 + 180

    # With nothing left to analyze: the same result again, and the same cache.
    again = window.run("one_of_each", "again", (2, 3), cache="fresh")
    assert analyzed()[2:] == ["analyzing 2 of 2 datasets"]
    assert assets(again.output) == assets(fresh.output)
    assert_same(again.transformed("train"), expected)
    entries = [
        read_entries(str(result.folder / "cache"), _datasets(result)) for result in (fresh, again)
    ]
    assert entries[0] == entries[1]
    # Two spans; a combiner for each of six analyzers, z-scores and the like, and vocabularies.
    assert len(entries[0]) == 2 * 8


def _datasets(result: Result) -> set[str]:
    path = result.folder / "cache" / "analyzer_cache.tfrecord.gz"
    return {
        tf.train.Example.FromString(r).features.feature["dataset"].bytes_list.value[0].decode()
        for r in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator()
    }
