"""Our executors beside TFX's own, on the same input: their outputs must say the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from apache_beam.options.pipeline_options import PipelineOptions
from sandbox import Sandbox, good_rows
from tfx.components.transform import executor as stock_transform
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts

from ordain.config.project import DEFAULT_BEAM_ARGS


@pytest.fixture
def transformed(small: Callable[..., Sandbox]) -> Path:
    """Artifacts of a run over two spans, to the transformed examples."""
    gaps = [["" if i % 7 == 0 else x, c, y] for i, (x, c, y) in enumerate(good_rows(300))]
    project = small({1: gaps, 2: good_rows()})
    result = project.run(to_node="Transform")
    assert result.failure is None, result.failure
    return project.folder / "var" / "small" / "artifacts"


def test_statistics_are_those_of_tfdv(transformed: Path) -> None:
    for execution in (1, 2):
        examples = transformed / "ExampleGen" / "examples" / str(execution)
        statistics = transformed / "StatisticsGen" / "statistics" / str(execution + 2)
        for split in ("train", "eval"):
            expected = tfdv.generate_statistics_from_tfrecord(
                str(examples / f"Split-{split}" / "*"),
                pipeline_options=PipelineOptions(list(DEFAULT_BEAM_ARGS)),
            )
            measured = tfdv.load_stats_binary(str(statistics / f"Split-{split}/FeatureStats.pb"))
            assert _facts(measured) == _facts(expected)


def _facts(statistics: Any) -> dict[str, Any]:
    """Everything in a statistics proto but the order of features and of equal counts."""
    (dataset,) = statistics.datasets
    facts: dict[str, Any] = {"rows": dataset.num_examples}
    for feature in dataset.features:
        kind = feature.WhichOneof("stats")
        stats = getattr(feature, kind)
        common = stats.common_stats
        entry: dict[str, Any] = {
            "type": feature.type,
            "present": common.num_non_missing,
            "missing": common.num_missing,
            "values": (common.min_num_values, common.max_num_values, common.tot_num_values),
        }
        if kind == "num_stats":
            entry |= {k: round(getattr(stats, k), 6) for k in ("mean", "std_dev", "min", "max")}
            entry |= {"zeros": stats.num_zeros, "median": round(stats.median, 3)}
            entry["histogram"] = [round(b.sample_count) for b in stats.histograms[0].buckets]
        else:
            entry |= {"unique": stats.unique, "length": round(stats.avg_length, 4)}
            entry["top"] = sorted((v.value, v.frequency) for v in stats.top_values)
        facts[".".join(feature.path.step)] = entry
    return facts


def test_transformed_examples_are_those_of_tfx(transformed: Path, tmp_path: Path) -> None:
    sources = [transformed / "ExampleGen" / "examples" / str(i) for i in (1, 2)]
    (schema,) = (transformed / "SchemaGen" / "schema").iterdir()
    ours = sorted((transformed / "Transform" / "transformed_examples").iterdir())
    examples = []
    for source in sources:
        artifact = _artifact(standard_artifacts.Examples, source)
        artifact.split_names = '["train", "eval"]'
        artifact.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
        artifact.set_string_custom_property("file_format", "tfrecords_gzip")
        examples.append(artifact)
    targets = [_artifact(standard_artifacts.Examples, tmp_path / f"e{i}") for i in range(2)]
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(DEFAULT_BEAM_ARGS), tmp_dir=str(tmp_path / "t"), unique_id="1"
    )
    stock_transform.Executor(context).Do(
        {"examples": examples, "schema": [_artifact(standard_artifacts.Schema, schema)]},
        {
            "transform_graph": [_artifact(standard_artifacts.TransformGraph, tmp_path / "g")],
            "transformed_examples": targets,
        },
        {
            "module_file": str(transformed.parents[2] / "model.py"),
            "disable_statistics": 1,
            "custom_config": "{}",
        },
    )
    found = [_rows(folder / "Split-train") for root in ours for folder in _leaves(root)]
    expected = [_rows(Path(t.uri) / "Split-train") for t in targets]
    assert sorted(map(len, found)) == sorted(map(len, expected))
    for one, other in zip(
        sorted(r for rows in found for r in rows),
        sorted(r for rows in expected for r in rows),
        strict=True,
    ):
        assert all(math.isclose(a, b, abs_tol=1e-5) for a, b in zip(one, other, strict=True))


def _leaves(root: Path) -> list[Path]:
    return [root] if (root / "Split-train").is_dir() else sorted(root.iterdir())


def _artifact(kind: Any, folder: Path) -> Any:
    artifact = kind()
    artifact.uri = str(folder)
    return artifact


def _rows(folder: Path) -> list[tuple[float, ...]]:
    files = [str(p) for p in folder.iterdir()]
    spec = {name: tf.io.FixedLenFeature([], tf.float32) for name in ("x_xf", "c_xf")}
    spec["y"] = tf.io.FixedLenFeature([], tf.int64)
    rows = []
    for record in tf.data.TFRecordDataset(files, "GZIP"):
        parsed = tf.io.parse_single_example(record, spec)
        rows.append(tuple(float(parsed[name]) for name in ("c_xf", "x_xf", "y")))
    return rows
