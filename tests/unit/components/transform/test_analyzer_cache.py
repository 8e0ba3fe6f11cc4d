"""The analyzer cache, through TensorFlow Transform itself."""

import logging
from collections.abc import Iterable
from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_transform.beam import analyzer_cache as tft_cache
from tensorflow_transform.tf_metadata import dataset_metadata

from ordain.common.commit import Staging
from ordain.components.artifacts.fileio import FileioFiles
from ordain.components.transform.analyzer_cache import (
    FILE,
    gather_entries,
    gathered,
    read_entries,
    save_entries,
    to_beam,
)
from ordain.config.project import DEFAULT_BEAM_ARGS

SPANS = {
    "span-1": [{"x": float(i), "s": "ab"[i % 2]} for i in range(10)],
    "span-2": [{"x": 100.0, "s": "b"}] * 3,
}


def preprocessing_fn(inputs):
    return {
        "mean": tft.mean(inputs["x"]) + 0 * inputs["x"],
        "s": tft.compute_and_apply_vocabulary(inputs["s"], vocab_filename="words"),
    }


def analyze(folder: Path, read: Iterable[str], cached: Iterable[str], old: str | None = None):
    """Analyzes spans, of which only some can be read; returns the graph's output."""
    metadata = dataset_metadata.DatasetMetadata.from_feature_spec(
        {"x": tf.io.FixedLenFeature([], tf.float32), "s": tf.io.FixedLenFeature([], tf.string)}
    )
    known = read_entries(old, [*read, *cached])
    with Staging(str(folder / "graph"), FileioFiles()) as staging:
        _analyze(staging, folder, metadata, known, read, cached)
        save_entries({**known, **gathered(staging)}, str(folder / "cache"), staging)
    return tft.TFTransformOutput(str(folder / "graph"))


def _analyze(staging, folder: Path, metadata, known, read: Iterable[str], cached: Iterable[str]):
    with (
        beam.Pipeline(options=PipelineOptions(list(DEFAULT_BEAM_ARGS))) as pipeline,
        tft_beam.Context(temp_dir=staging.folder),
    ):
        data = {tft_cache.DatasetKey(n): pipeline | n >> beam.Create(SPANS[n]) for n in read}
        data |= {tft_cache.DatasetKey(n): None for n in cached}
        transform_fn, computed = (
            data,
            to_beam(known, pipeline),
            metadata,
        ) | tft_beam.AnalyzeDatasetWithCache(preprocessing_fn, pipeline=pipeline)
        _ = transform_fn | tft_beam.WriteTransformFn(str(folder / "graph"))
        gather_entries(computed or {}, pipeline, staging)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The cache after the first span."""
    folder = tmp_path_factory.mktemp("first")
    analyze(folder, ["span-1"], [])
    return str(folder / "cache")


def test_a_span_that_cannot_be_read_any_more_still_counts(tmp_path, first):
    output = analyze(tmp_path, ["span-2"], ["span-1"], first)
    values = [row["x"] for span in SPANS.values() for row in span]
    transformed = output.transform_features_layer()(
        {"x": tf.constant([0.0]), "s": tf.constant(["b"])}
    )
    assert float(transformed["mean"][0]) == pytest.approx(sum(values) / len(values))
    assert output.vocabulary_by_name("words") == [b"b", b"a"]  # 8 times, 5 times
    # Old entries are kept as they were, so that the next run does not count them twice.
    before = read_entries(first, ["span-1"])
    after = read_entries(str(tmp_path / "cache"), ["span-1", "span-2"])
    assert {k: v for k, v in after.items() if k[0] == "span-1"} == before
    assert {dataset for dataset, _ in after} == {"span-1", "span-2"}
    assert len(after) == 2 * len(before) == 4


def test_only_requested_spans_are_read(first):
    assert {dataset for dataset, _ in read_entries(first, ["span-1", "span-9"])} == {"span-1"}
    assert read_entries(first, ["span-9"]) == {}


def test_no_cache_is_an_empty_cache(tmp_path):
    assert read_entries(None, ["span-1"]) == {}
    assert read_entries(str(tmp_path), ["span-1"]) == {}


@pytest.mark.parametrize("damage", ["truncated", "garbage", "other records"])
def test_unreadable_cache_is_empty_and_logged(tmp_path, first, caplog, damage):
    content = (Path(first) / FILE).read_bytes()
    path = tmp_path / FILE
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "garbage":
        path.write_bytes(b"no gzip at all")
    else:
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            writer.write(tf.train.Example().SerializeToString())
    with caplog.at_level(logging.WARNING):
        assert read_entries(str(tmp_path), ["span-1"]) == {}
    assert f"{path}: cannot be read, analyzing every span again" in caplog.text
