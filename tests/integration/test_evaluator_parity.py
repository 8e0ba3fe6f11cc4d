"""The Evaluator beside TFMA's own run of the same evaluation: every value must be the same.

TFMA reads copies of the examples that carry their span as one more column.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf import json_format, text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from ordain.components.evaluator import executor as evaluator
from ordain.components.evaluator import metrics as evaluation_metrics
from ordain.components.examples import reader as example_reader
from ordain.config.project import DEFAULT_BEAM_ARGS

ROWS = {1: 60, 3: 90}
SPEC = {
    "x": tf.io.FixedLenFeature([], tf.float32),
    "w": tf.io.FixedLenFeature([], tf.float32),
    "y": tf.io.FixedLenFeature([], tf.int64),
    "k": tf.io.FixedLenFeature([], tf.int64),
    "t": tf.io.FixedLenFeature([], tf.float32),
}
SCHEMA = """
feature { name: "x" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "w" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "y" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "k" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "t" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "c" type: BYTES value_count { min: 0 max: 1 } }
feature { name: "many" type: BYTES value_count { min: 0 } }
"""
SLICES = """
slicing_specs { }
slicing_specs { feature_keys: "span" }
slicing_specs { feature_keys: "c" }
slicing_specs { feature_keys: "many" }
slicing_specs { feature_keys: "c" feature_values { key: "span" value: "3" } }
"""


class Model(tf.Module):
    """One signature that predicts, one that hands back labels, as exported models have them."""

    def __init__(self, kind: str, slope: float) -> None:
        super().__init__()
        self._kind, self._slope = kind, slope

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def predict(self, examples):
        x = tf.io.parse_example(examples, SPEC)["x"][:, None]
        if self._kind == "binary":
            return {"outputs": tf.sigmoid(self._slope * x)}
        if self._kind == "regression":
            return {"outputs": self._slope * x + 3.0}
        classes = tf.constant([[-1.0, 0.5, 1.0, 0.2]]) * self._slope
        return {"outputs": tf.nn.softmax(x * classes + [[0.0, 0.1, -0.2, 0.3]])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def transform(self, examples):
        parsed = tf.io.parse_example(examples, SPEC)
        return {"label": parsed[{"binary": "y", "classes": "k", "regression": "t"}[self._kind]]}


class Window:
    """Examples of two spans, and the two ways of evaluating models on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.schema = text_format.Parse(SCHEMA, schema_pb2.Schema())
        _write(folder / "schema" / "schema.pbtxt", SCHEMA)
        for span, rows in ROWS.items():
            _records(folder / f"examples-{span}" / "Split-eval" / "data.gz", [span], rows)
        _records(folder / "all" / "data.gz", list(ROWS), None)

    def model(self, kind: str, slope: float) -> Any:
        artifact = _artifact(standard_artifacts.Model, self.folder / f"{kind}-{slope}")
        path = Path(artifact.uri) / "Format-Serving"
        if not path.exists():
            module = Model(kind, slope)
            signatures = {"serving_default": module.predict, "transform_features": module.transform}
            tf.saved_model.save(module, str(path), signatures=signatures)
        return artifact

    def ours(self, config: Any, model: Any, baseline: Any = None) -> Path:
        target = self.folder / f"ours-{len(list(self.folder.iterdir()))}"
        examples = []
        for span in ROWS:
            artifact = _artifact(standard_artifacts.Examples, self.folder / f"examples-{span}")
            artifact.span, artifact.split_names = span, '["eval"]'
            examples.append(artifact)
        inputs = {
            "examples": examples,
            "model": [model],
            "schema": [_artifact(standard_artifacts.Schema, self.folder / "schema")],
        }
        if baseline is not None:
            inputs["baseline_model"] = [baseline]
        (target / "blessing").mkdir(parents=True)
        outputs = {
            "evaluation": [_artifact(standard_artifacts.ModelEvaluation, target / "evaluation")],
            "blessing": [_artifact(standard_artifacts.ModelBlessing, target / "blessing")],
        }
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=list(DEFAULT_BEAM_ARGS),
            tmp_dir=str(self.folder / "tmp"),
            unique_id="1",
        )
        properties = {"eval_config": proto_utils.proto_to_json(config)}
        evaluator.Executor(context).Do(inputs, outputs, properties)
        return target / "evaluation"

    def stock(self, config: Any, model: Any, baseline: Any = None) -> Path:
        target = self.folder / f"stock-{len(list(self.folder.iterdir()))}"
        config = tfma.utils.update_eval_config_with_defaults(
            config, has_baseline=baseline is not None, rubber_stamp=True
        )
        models = [
            tfma.default_eval_shared_model(
                eval_saved_model_path=f"{(baseline if spec.is_baseline else model).uri}"
                "/Format-Serving",
                model_name=spec.name,
                eval_config=config,
            )
            for spec in config.model_specs
        ]
        schema = schema_pb2.Schema()
        schema.CopyFrom(self.schema)
        text_format.Parse(
            'feature { name: "span" type: INT presence { min_fraction: 1 } '
            "shape { dim { size: 1 } } }",
            schema,
        )
        tfma.run_model_analysis(
            eval_shared_model=models[0] if len(models) == 1 else models,
            eval_config=config,
            data_location=str(self.folder / "all" / "data.gz"),
            output_path=str(target),
            schema=schema,
            pipeline_options=PipelineOptions(list(DEFAULT_BEAM_ARGS)),
        )
        return target


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Window:
    return Window(tmp_path_factory.mktemp("window"))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several batches to a split, and several partial results to a slice."""
    monkeypatch.setattr(example_reader, "BATCH_ROWS", 32)
    monkeypatch.setattr(evaluation_metrics, "MAX_SLICES", 6)


BINARY = [
    ("ExampleCount", {}),
    ("AUC", {"num_thresholds": 200}),
    ("AUCPrecisionRecall", {"num_thresholds": 50}),
    ("BinaryAccuracy", {}),
    ("Precision", {"thresholds": [0.9, 0.2, 0.5]}),
    ("BinaryCrossentropy", {}),
    ("MeanLabel", {}),
    ("MeanPrediction", {}),
    ("Calibration", {}),
    ("CalibrationPlot", {"num_buckets": 10}),
    ("ConfusionMatrixPlot", {"num_thresholds": 20}),
    ("CoefficientOfDiscrimination", {}),
]
LIMITS = {
    "AUC": "threshold { value_threshold { lower_bound { value: 0.1 } upper_bound { value: inf } } "
    "change_threshold { absolute { value: -0.01 } direction: HIGHER_IS_BETTER } }",
    "BinaryAccuracy": "per_slice_thresholds { slicing_specs { feature_keys: 'span' } threshold { "
    "value_threshold { lower_bound { value: 0.99 } upper_bound { value: inf } } } }",
}


@pytest.mark.parametrize("has_baseline", [False, True])
def test_binary(window: Window, has_baseline: bool, caplog: pytest.LogCaptureFixture) -> None:
    config = _config(BINARY, LIMITS)
    config.model_specs[0].example_weight_key = "w"
    config.metrics_specs[0].example_weights.weighted = True
    config.metrics_specs[0].example_weights.unweighted = True
    models = [window.model("binary", 1.5)]
    models += [window.model("binary", -0.4)] if has_baseline else []
    with caplog.at_level(logging.INFO, logger="ordain.components.evaluator.executor"):
        found = window.ours(config, *models)
    assert "example by example" not in caplog.text
    _same(found, window.stock(config, *models))


CLASS_SPECS = """
metrics_specs {
  metrics { class_name: "AUC" config: '{"num_thresholds": 50}' }
  metrics { class_name: "Recall" }
  binarize { class_ids { values: [0, 2] } top_k_list { values: [2] } k_list { values: 1 } }
}
metrics_specs { metrics { class_name: "MeanLabel" } binarize { class_ids { values: 1 } } }
metrics_specs {
  metrics { class_name: "AUC" config: '{"num_thresholds": 50}' }
  metrics { class_name: "Precision" }
  aggregate {
    micro_average: true
    class_weights { key: 1 value: 0.5 }
    class_weights { key: 3 value: 2 }
  }
}
metrics_specs {
  metrics { class_name: "AUC" config: '{"num_thresholds": 50}' }
  aggregate {
    macro_average: true
    class_weights { key: 0 value: 1 }
    class_weights { key: 1 value: 1 }
  }
}
"""


def test_classes(window: Window) -> None:
    metrics = [
        ("ExampleCount", {}),
        ("SparseCategoricalAccuracy", {}),
        ("SparseCategoricalCrossentropy", {}),
        ("SparseTopKCategoricalAccuracy", {"k": 2}),
        ("MultiClassConfusionMatrixPlot", {"thresholds": [0.1, 0.3, 0.5]}),
    ]
    config = _config(metrics, {"SparseCategoricalAccuracy": LIMITS["AUC"]})
    text_format.Parse(CLASS_SPECS, config)
    _named(config)
    models = [window.model("classes", 1.5), window.model("classes", -0.4)]
    _same(window.ours(config, *models), window.stock(config, *models))


OWN_METRIC = """
import apache_beam as beam
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types, metric_util


class Nearest(beam.CombineFn):
    def __init__(self, key, config):
        self.key, self.config = key, config

    def create_accumulator(self):
        return 1e9

    def add_input(self, accumulator, element):
        pairs = metric_util.to_label_prediction_example_weight(
            element, eval_config=self.config, model_name=self.key.model_name
        )
        return min([accumulator, *(abs(float(l[0]) - float(p[0])) for l, p, _ in pairs)])

    def merge_accumulators(self, accumulators):
        return min(accumulators)

    def extract_output(self, accumulator):
        return {self.key: accumulator}


def computations(name, eval_config=None, model_names=None, example_weighted=False, **_):
    keys = [
        metric_types.MetricKey(name=name, model_name=m, example_weighted=example_weighted)
        for m in model_names or [""]
    ]
    return [
        metric_types.MetricComputation(
            keys=[key], preprocessors=None, combiner=Nearest(key, eval_config)
        )
        for key in keys
    ]


class Distance(metric_types.Metric):
    def __init__(self, name="distance"):
        super().__init__(computations, name=name)
"""


def test_regression_and_a_metric_of_ones_own(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(window.folder / "modules" / "own_metric.py", OWN_METRIC)
    monkeypatch.syspath_prepend(window.folder / "modules")
    metrics = [
        ("Distance", {}),
        ("R2Score", {}),
        ("ExampleCount", {}),
        ("MeanSquaredError", {}),
        ("MeanAbsoluteError", {}),
        ("MeanAbsolutePercentageError", {}),
        ("MeanSquaredLogarithmicError", {}),
        ("SquaredPearsonCorrelation", {}),
        ("RootMeanSquaredError", {}),
        ("CalibrationPlot", {"left": -2, "right": 9, "num_buckets": 20}),
    ]
    config = _config(metrics, {"MeanSquaredError": LIMITS["AUC"]})
    config.model_specs[0].example_weight_key = "w"
    config.metrics_specs[0].metrics[0].module = "own_metric"
    config.metrics_specs[0].metrics[1].module = "ordain.components.evaluator.r2"
    model = window.model("regression", 1.5)
    found = window.ours(config, model)
    _same(found, window.stock(config, model))
    for name in ("distance", "r2score"):
        assert any(name in key for _, _, key in _facts(found))


@pytest.mark.parametrize(
    ("metrics", "changes", "reason"),
    [
        (BINARY[3:4], "options { min_slice_size { value: 80 } }", "a minimum size of slices"),
        (
            [],
            'metrics_specs { query_key: "k" metrics { class_name: "MinLabelPosition" } }',
            "metrics over queries",
        ),
    ],
)
def test_what_takes_tfmas_way(
    window: Window, caplog: pytest.LogCaptureFixture, metrics: Any, changes: str, reason: str
) -> None:
    config = _named(text_format.Parse(changes, _config(metrics, {})))
    if not metrics:
        del config.metrics_specs[0]
    model = window.model("binary", 1.5)
    with caplog.at_level(logging.INFO, logger="ordain.components.evaluator.executor"):
        found = window.ours(config, model)
    assert f"evaluating example by example, for {reason}" in caplog.text
    _same(found, window.stock(config, model))


def test_a_difference_is_noticed() -> None:
    facts = {("metrics", "", "auc"): {"/doubleValue/value": 0.7}}
    _compare(facts, {("metrics", "", "auc"): {"/doubleValue/value": 0.7 + 1e-9}})
    for other in (
        {("metrics", "", "auc"): {"/doubleValue/value": 0.70001}},
        {("metrics", "", "auc"): {"/doubleValue/value": "NaN"}},
        {("metrics", "", "auc"): {"/doubleValue/value": 0.7, "/other": 1}},
        facts | {("plots", "", "auc"): {}},
    ):
        with pytest.raises(AssertionError):
            _compare(facts, other)
        with pytest.raises(AssertionError):
            _compare(other, facts)


def _config(metrics: list[tuple[str, dict[str, Any]]], limits: dict[str, str]) -> tfma.EvalConfig:
    config = text_format.Parse(
        SLICES + 'model_specs { signature_name: "serving_default" label_key: "label"'
        ' preprocessing_function_names: ["transform_features"] } metrics_specs { }',
        tfma.EvalConfig(),
    )
    for name, options in metrics:
        metric = config.metrics_specs[0].metrics.add(class_name=name, config=json.dumps(options))
        text_format.Parse(limits.get(name, ""), metric)
    return _named(config)


def _named(config: tfma.EvalConfig) -> tfma.EvalConfig:
    """With a name for each metric, as `ordain.pipeline.eval_config` gives them."""
    for spec in config.metrics_specs:
        for metric in spec.metrics:
            options = {"name": metric.class_name.lower()} | json.loads(metric.config or "{}")
            metric.config = json.dumps(options)
    return config


def _same(found: Path, expected: Path) -> None:
    """Compares two evaluations, and reads ours as others would."""
    facts = _facts(found)
    assert any(kind == "metrics" for kind, _, _ in facts)
    _compare(facts, _facts(expected))
    assert tfma.load_eval_result(str(found)).slicing_metrics
    assert (found / "eval_config.json").exists()


def _compare(ours: dict[Any, Any], stock: dict[Any, Any]) -> None:
    """Every number of every metric, plot and validation."""
    assert ours.keys() == stock.keys()
    for key, values in stock.items():
        assert ours[key].keys() == values.keys(), key
        for name, value in values.items():
            assert _is_close(ours[key][name], value), (key, name, ours[key][name], value)


def _facts(folder: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Flattened values by kind, slice and metric key."""
    facts = {}
    for kind, entries, field in (
        ("metrics", tfma.load_metrics(str(folder)), "metric_keys_and_values"),
        ("plots", tfma.load_plots(str(folder)), "plot_keys_and_values"),
        ("attributions", tfma.load_attributions(str(folder)), "attributions_keys_and_values"),
    ):
        for entry in entries:
            where = json_format.MessageToJson(entry.slice_key)
            for pair in getattr(entry, field):
                key = json_format.MessageToJson(pair.key)
                facts[kind, where, key] = dict(_leaves(json_format.MessageToDict(pair.value)))
    validation = tfma.load_validation_result(str(folder))
    facts["validation", "", ""] = dict(_leaves(json_format.MessageToDict(validation)))
    return facts


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}/{key}")
    elif isinstance(value, list):
        # Slices and validations come in no particular order.
        has_order = all(not isinstance(inner, dict) or "sliceKey" not in inner for inner in value)
        ordered = value if has_order else sorted(value, key=lambda v: json.dumps(v["sliceKey"]))
        if "slicingDetails" in path:
            ordered = sorted(value, key=json.dumps)
        for i, inner in enumerate(ordered):
            yield from _leaves(inner, f"{path}[{i}]")
    else:
        yield path, value


def _is_close(one: Any, other: Any) -> bool:
    try:
        one, other = float(one), float(other)
    except (TypeError, ValueError):
        return bool(one == other)
    both_nan = math.isnan(one) and math.isnan(other)
    return both_nan or math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)


def _records(path: Path, spans: list[int], rows: int | None) -> None:
    """Writes the rows of some spans; with `rows` None, of all, with their span as a column."""
    path.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(path), "GZIP") as file:
        for span in spans:
            random = np.random.default_rng(span)
            for i in range(ROWS[span]):
                x = random.normal()
                features: dict[str, Any] = {
                    "x": [x],
                    "w": [random.uniform(0.1, 2.0)],
                    "y": [int(x + random.normal() > 0)],
                    "k": [int(random.integers(4))],
                    "t": [abs(2 * x + 3 + random.normal())],
                    "many": [b"p", b"q"][: i % 3],
                }
                if i % 7:
                    features["c"] = [b"a" if i % 2 else "ü".encode()]
                if rows is None:
                    features["span"] = [span]
                file.write(_example(features))


def _example(features: dict[str, Any]) -> bytes:
    example = tf.train.Example()
    for name, values in features.items():
        feature = example.features.feature[name]
        kinds: dict[type, Callable[[Any], None]] = {
            bytes: feature.bytes_list.value.extend,
            int: feature.int64_list.value.extend,
        }
        if values:
            kinds.get(type(values[0]), feature.float_list.value.extend)(values)
    return example.SerializeToString()


def _artifact(kind: Any, folder: Path) -> Any:
    artifact = kind()
    artifact.uri = str(folder)
    return artifact


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
