"""Metrics and slices of batches beside TFMA's, example by example."""

import json
import pickle

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from tensorflow_model_analysis.api import types
from tensorflow_model_analysis.proto import config_pb2

from ordain.components.evaluator import combiners as evaluation_combiners
from ordain.components.evaluator import tfma_internals as inside
from ordain.components.evaluator.batches import Batch
from ordain.components.evaluator.combiners import add_rows
from ordain.components.evaluator.histogram import with_arrays
from ordain.components.evaluator.metrics import needs_examples
from ordain.components.evaluator.slices import rows_by_slice
from ordain.errors import DataBlockedError

ROWS = 40
RANDOM = np.random.default_rng(7)


def extracts(kind: str, **changes) -> dict:
    """A batch as TFMA's extractors leave it."""
    classes = RANDOM.dirichlet([1.0] * 4, ROWS).astype(np.float32)
    found = {
        "binary": (RANDOM.integers(0, 2, ROWS), RANDOM.random((ROWS, 1), np.float32)),
        "classes": (RANDOM.integers(0, 4, ROWS), classes),
        "one_hot": (np.eye(4, dtype=np.float32)[RANDOM.integers(0, 4, ROWS)], classes),
        "numbers": (
            RANDOM.random(ROWS, np.float32) * 9,
            RANDOM.random((ROWS, 1), np.float32) * 9,
        ),
    }[kind]
    weights = RANDOM.random(ROWS, np.float32)
    weights[3] = 0
    batch = {"labels": found[0], "predictions": found[1], "example_weights": weights}
    return batch | changes


def combiners(metrics: str, options: str = "") -> list:
    config = text_format.Parse(
        'model_specs { label_key: "label" example_weight_key: "w" } metrics_specs { '
        f"{metrics} {options} example_weights {{ weighted: true }} }}",
        config_pb2.EvalConfig(),
    )
    config = tfma.utils.update_eval_config_with_defaults(config)
    specs = list(config.metrics_specs)
    computations = inside.separate(inside.to_computations(specs, eval_config=config))
    return [with_arrays(each.combiner) for each in computations.non_derived_computations]


def metric(name: str, **options) -> str:
    return f"metrics {{ class_name: '{name}' config: '{json.dumps(options)}' }}"


def totals(combiner, accumulator) -> dict:
    """Output of an accumulator: numbers by name."""
    (result,) = combiner.extract_output(accumulator).values()
    if isinstance(result, list):
        return {b.bucket_id: list(vars(b).values()) for b in result}
    if isinstance(result, dict):
        found = {}
        for threshold, inner in result.items():
            entries = inner if isinstance(inner, dict) else inner.matrix._asdict()
            found |= {(threshold, key): value for key, value in entries.items()}
        return found
    if hasattr(result, "__slots__"):
        return {name: getattr(result, name) for name in result.__slots__}
    return {"": result}


BINARIZE = (
    "binarize { class_ids { values: [0, 3] } top_k_list { values: 2 } k_list { values: [1, 2] } }"
)
MICRO = "aggregate { micro_average: true class_weights { key: 2 value: 0.5 } }"
CASES = [
    ("binary", metric("ExampleCount"), ""),
    ("binary", metric("AUC"), ""),
    ("binary", metric("BinaryAccuracy") + metric("Precision", thresholds=[0.7, 0.2]), ""),
    ("binary", metric("MeanLabel"), ""),
    ("binary", metric("BinaryCrossentropy"), ""),
    ("numbers", metric("MeanSquaredError") + metric("MeanAbsoluteError"), ""),
    ("numbers", metric("MeanSquaredLogarithmicError"), ""),
    ("numbers", metric("MeanAbsolutePercentageError"), ""),
    ("numbers", metric("SquaredPearsonCorrelation"), ""),
    ("numbers", "metrics { class_name: 'R2Score' module: 'ordain.components.evaluator.r2' }", ""),
    ("numbers", metric("CalibrationPlot", left=1, right=5, num_buckets=7), ""),
    ("classes", metric("AUC") + metric("Precision"), BINARIZE),
    ("one_hot", metric("AUC") + metric("Precision"), BINARIZE),
    ("classes", metric("AUC"), MICRO),
    ("one_hot", metric("AUC"), MICRO),
    ("classes", metric("MultiClassConfusionMatrixPlot", thresholds=[0.3, 0.6]), ""),
    ("one_hot", metric("MultiClassConfusionMatrixPlot"), ""),
    ("classes", metric("SparseCategoricalAccuracy"), ""),
]


def added(monkeypatch, combiner, batch: dict, is_batched: bool) -> dict:
    rows = np.flatnonzero(np.arange(ROWS) % 3)
    combiner.setup()
    with monkeypatch.context() as patch:
        if is_batched:  # and nothing falls back
            patch.setattr(evaluation_combiners, "_add_examples", None)
        else:
            patch.setattr(evaluation_combiners, "ADDERS", {})
        accumulator = combiner.create_accumulator()
        for part in (rows[:11], rows[11:]):
            accumulator = add_rows(combiner, accumulator, Batch(batch, ROWS), part)
    return totals(combiner, pickle.loads(pickle.dumps(combiner.compact(accumulator))))


@pytest.mark.parametrize(("kind", "metrics", "options"), CASES)
def test_batch_equals_single_examples(monkeypatch, kind, metrics, options):
    batch = extracts(kind)
    for combiner in combiners(metrics, options):
        found = added(monkeypatch, combiner, batch, is_batched=True)
        expected = added(monkeypatch, combiner, batch, is_batched=False)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-9)


def add_all(combiner, batch: dict) -> None:
    add_rows(combiner, combiner.create_accumulator(), Batch(batch, ROWS), np.arange(ROWS))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"labels": np.array([np.nan, *range(1, ROWS)])}, DataBlockedError, "has the label nan"),
        ({"labels": np.full(ROWS, 2)}, DataBlockedError, "has the label 2"),
        (
            {"predictions": np.full((ROWS, 1), np.nan, np.float32)},
            RuntimeError,
            "add_input failed",
        ),
    ],
)
def test_values_refused_by_tfma_are_refused(change, error, said):
    (combiner,) = combiners(metric("AUC"))
    with pytest.raises(error, match=said):
        add_rows(
            combiner,
            combiner.create_accumulator(),
            Batch(extracts("binary", **change), ROWS),
            np.arange(ROWS),
        )


def test_missing_labels_are_refused():
    (combiner,) = combiners(metric("AUC"))
    with pytest.raises(RuntimeError, match="add_input failed") as raised:
        add_rows(
            combiner,
            combiner.create_accumulator(),
            Batch(extracts("binary", labels=None), ROWS),
            np.arange(ROWS),
        )
    assert "no value provided for label" in str(raised.value.__cause__)


def varlen(rows: list) -> types.VarLenTensorValue:
    return types.VarLenTensorValue.from_dense_rows([np.array(row, object) for row in rows])


FEATURES = {
    "dense": np.array([b"a", b"b", b"a", b"a"], object),
    "number": np.array([[1], [2], [1], [2]]),
    "missing": varlen([[b"x"], [], [b"y"], [b"x"]]),
    "many": varlen([[b"p", b"q"], [], [b"q"], [b"p"]]),
    "nothing": varlen([[], [], [], []]),
}


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        ([], {}),
        *(([name], {}) for name in FEATURES),
        (["dense", "number"], {}),
        (["dense"], {"number": "2"}),
        ([], {"missing": "x", "dense": "a"}),
        (["missing", "many"], {}),
    ],
)
def test_slices_are_those_of_each_example(keys, values):
    spec = config_pb2.SlicingSpec(feature_keys=keys, feature_values=values)
    specs = [tfma.slicer.SingleSliceSpec(spec=spec)]
    expected: dict = {}
    for row, example in enumerate(inside.split_extracts(FEATURES)):
        for key in inside.slices_of([], example, specs):
            expected.setdefault(key, set()).add(row)
    found = rows_by_slice(FEATURES, specs, 4)
    assert {key: set(rows.tolist()) for key, rows in found.items()} == expected


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("options { compute_confidence_intervals { value: true } }", "confidence intervals"),
        ("options { min_slice_size { value: 2 } }", "a minimum size of slices"),
        ("cross_slicing_specs { }", "comparisons of slices"),
        ('slicing_specs { slice_keys_sql: "x" }', "slices written in SQL"),
        ('metrics_specs { query_key: "x" }', "metrics over queries"),
        ("", None),
    ],
)
def test_evaluations_that_need_single_examples(change, reason):
    config = text_format.Parse(
        f"model_specs {{ }} metrics_specs {{ {metric('AUC')} }} {change}", config_pb2.EvalConfig()
    )
    found = needs_examples(config, [], None)
    assert (found.reason if found else None) == reason
