"""Rows and labels of slices, and trivial predictors measured on them."""

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from ordain.components.evaluator import tfma_internals as inside
from ordain.components.evaluator.batches import Batch
from ordain.components.evaluator.combiners import add_rows
from ordain.components.evaluator.rows import RowsCombiner, SliceRows
from ordain.components.evaluator.trivial import TrivialMetrics, constants_of


def batch_of(label, prediction, weight=None) -> Batch:
    rows = len(label)
    extracts = {"labels": label, "predictions": prediction}
    if weight is not None:
        extracts[tfma.constants.EXAMPLE_WEIGHTS_KEY] = weight
    return Batch(extracts, rows)


def combiner(is_weighted: bool = False) -> RowsCombiner:
    key = inside.MetricKey("slice_rows")
    return RowsCombiner(key, config_pb2.EvalConfig(model_specs=[{}]), example_weighted=is_weighted)


def read(counter: RowsCombiner, accumulator) -> SliceRows:
    (text,) = counter.extract_output(accumulator).values()
    return SliceRows.from_json(text)


def counted(label, prediction, weight=None) -> SliceRows:
    counter = combiner(weight is not None)
    batch = batch_of(label, prediction, weight)
    return read(counter, add_rows(counter, counter.create_accumulator(), batch, range(batch.rows)))


def test_batches_examples_and_any_order_of_merging_count_the_same():
    generator = np.random.default_rng(3)
    label = generator.integers(0, 2, (300, 1)).astype(np.int64)
    prediction = generator.random((300, 1)).astype(np.float32)
    prediction[:7] = np.nan
    weight = generator.random((300, 1)).astype(np.float32)
    whole = counted(label, prediction, weight)
    assert (whole.rows, whole.nan, whole.is_binary) == (300, 7, True)
    assert whole.weight_of(1) == pytest.approx(weight[label == 1].sum(), rel=1e-5)
    counter, batch = combiner(True), batch_of(label, prediction, weight)
    for cuts in ([10, 11, 200], [299], [150]):
        parts = np.split(generator.permutation(300), cuts)
        made = [add_rows(counter, counter.create_accumulator(), batch, part) for part in parts[1:]]
        first = counter.create_accumulator()
        for row in parts[0]:
            first = counter.add_input(first, batch.examples[row])
        found = read(counter, counter.merge_accumulators(iter([*made, first])))
        assert (found.rows, found.nan, found.outputs) == (300, 7, 1)
        np.testing.assert_allclose(found.labels, whole.labels, rtol=1e-5)


@pytest.mark.parametrize(
    ("label", "prediction", "expected"),
    [
        ([[2], [0], [2]], np.full((3, 4), 0.25), {2: 2, 0: 1}),
        ([[0, 1, 0], [1, 0, 0], [0, 1, 0]], np.full((3, 3), 0.3), {1: 2, 0: 1}),
    ],
)
def test_classes_are_counted_as_ids_or_places(label, prediction, expected):
    found = counted(np.array(label), prediction.astype(np.float32))
    assert {int(c): w for c, _, w in found.labels} == expected
    assert not found.is_binary


def test_text_labels_are_counted_as_rows_only():
    found = counted(np.array([["a"], ["b"]], object), np.ones((2, 1), np.float32))
    assert (found.rows, found.label_width, len(found.labels)) == (2, 0, 0)
    assert constants_of(found) == []


def test_many_different_numbers_keep_their_mean_and_variance():
    label = np.random.default_rng(5).lognormal(3, 1, (20_000, 1)).astype(np.float32)
    found = counted(label, np.zeros_like(label))
    assert len(found.labels) <= 64
    mean, variance, weight = found.labels.T
    average = (mean * weight).sum() / weight.sum()
    assert average == pytest.approx(label.mean(), rel=1e-5)
    assert ((variance + (mean - average) ** 2) * weight).sum() == pytest.approx(
        ((label - label.mean()) ** 2).sum(), rel=1e-4
    )


def metrics_of(*classes: str) -> TrivialMetrics:
    specs = [
        config_pb2.MetricsSpec(
            metrics=[config_pb2.MetricConfig(class_name=c, config=f'{{"name": "{c}"}}')]
        )
        for c in classes
    ]
    return TrivialMetrics(config_pb2.EvalConfig(model_specs=[{}], metrics_specs=specs))


def test_a_number_is_predicted_by_its_mean_and_its_median():
    label = np.random.default_rng(7).lognormal(3, 1, (20_000, 1)).astype(np.float32)
    rows = counted(label, np.zeros_like(label))
    mean, median = constants_of(rows)
    assert mean.prediction == pytest.approx(label.mean(), rel=1e-4)
    assert median.prediction == pytest.approx(np.median(label), rel=0.02)
    found = metrics_of("MeanAbsoluteError", "RootMeanSquaredError")
    for constant, center in ((mean, label.mean()), (median, np.median(label))):
        error = np.abs(label - center).mean()
        assert found.measure("MeanAbsoluteError", rows, constant) == pytest.approx(error, rel=0.005)
    root = found.measure("RootMeanSquaredError", rows, mean)
    assert root == pytest.approx(label.std(), rel=1e-3)


@pytest.mark.parametrize("metric", ["ExampleCount", "MeanLabel", "MinLabelPosition", "NoSuch"])
def test_metrics_without_skill_or_with_other_inputs_are_skipped(metric):
    rows = counted(np.array([[0], [1], [0]]), np.full((3, 1), 0.4, np.float32))
    known = metrics_of(metric) if metric != "NoSuch" else metrics_of("AUC")
    assert known.measure(metric, rows, constants_of(rows)[0]) is None
