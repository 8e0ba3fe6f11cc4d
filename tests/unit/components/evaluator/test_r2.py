"""R2Score beside scikit-learn's, however its rows are cut; and the day TFMA computes Keras'."""

import numpy as np
import pytest
from sklearn.metrics import r2_score
from tensorflow_model_analysis.proto import config_pb2

from ordain.components.evaluator import tfma_internals as inside
from ordain.components.evaluator.r2 import Moments, R2Combiner

ROWS = 60


def combiner() -> R2Combiner:
    return R2Combiner(inside.MetricKey("r2_score"), None, None, None, True)


def rows(mean: float = 0.0) -> tuple:
    """Labels that differ by about one, predictions near them, and weights, some of them 0."""
    generator = np.random.default_rng(5)
    label = mean + generator.normal(size=ROWS)
    weight = generator.random(ROWS)
    weight[::7] = 0
    return label, label + generator.normal(scale=0.4, size=ROWS), weight


def value(metric: R2Combiner, accumulator: Moments) -> float:
    (found,) = metric.extract_output(accumulator).values()
    return found


@pytest.mark.parametrize("mean", [0.0, 3.0, 1e6])
@pytest.mark.parametrize("cuts", [(), (1,), (20, 21, 50)])
def test_equals_scikit_learn_for_any_batches(mean, cuts):
    metric, columns = combiner(), rows(mean)
    parts = []
    for pieces in zip(*(np.split(column, cuts) for column in columns), strict=True):
        parts.append(metric.add_rows(metric.create_accumulator(), *pieces))
    label, prediction, weight = columns
    wanted = r2_score(label, prediction, sample_weight=weight)
    assert 0.5 < wanted < 0.95
    for order in (parts, parts[::-1]):
        merged = metric.merge_accumulators(iter([Moments(), *order, Moments()]))
        assert value(metric, merged) == pytest.approx(wanted, rel=1e-9)


def test_a_model_worse_than_the_mean_is_below_zero():
    metric = combiner()
    label, _, weight = rows()
    found = value(metric, metric.add_rows(Moments(), label, -label, weight))
    assert found == pytest.approx(r2_score(label, -label, sample_weight=weight))
    assert found < 0


@pytest.mark.parametrize("label", [[], [4.0], [4.0, 4.0], [0.0, 0.0], [0.1] * 7, [1e6 / 3] * 11])
def test_labels_without_variance_explain_nothing(label):
    label = np.array(label)
    metric = combiner()
    weights = np.linspace(0.1, 1.3, len(label))
    halves = [
        metric.add_rows(Moments(), values, values + 1, weight)
        for values, weight in ((label[::2], weights[::2]), (label[1::2], weights[1::2]))
    ]
    found = value(metric, metric.merge_accumulators(halves))
    assert np.isnan(found), "a threshold on NaN blocks"


def test_tfma_cannot_compute_keras_metric_of_that_name():
    """Fails when it can: then `components/evaluator/r2.py` can go."""
    model = config_pb2.ModelSpec(label_key="y")
    metric = config_pb2.MetricConfig(class_name="R2Score")
    keras_metric = config_pb2.MetricsSpec(metrics=[metric])
    of_one = config_pb2.EvalConfig(model_specs=[model], metrics_specs=[keras_metric])
    found = inside.separate(inside.to_computations([keras_metric], eval_config=of_one))
    (computation,) = found.non_derived_computations
    combiner = computation.combiner
    combiner.setup()

    def compute():
        parts = []
        for _ in range(2):
            part = combiner.create_accumulator()
            for value in np.arange(3, dtype=np.float32):
                example = inside.StandardMetricInputs(
                    label=np.array([value]),
                    prediction=np.array([value + 0.1]),
                    example_weight=np.array([1.0]),
                )
                part = combiner.add_input(part, example)
            parts.append(combiner.compact(part))
        return combiner.extract_output(combiner.merge_accumulators(iter(parts)))

    with pytest.raises(ValueError, match="array element with a sequence"):
        compute()
        pytest.fail("TFMA computes R2Score: drop components/evaluator/r2.py")
