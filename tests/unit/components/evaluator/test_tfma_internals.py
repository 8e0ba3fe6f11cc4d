"""Metrics that TFMA cannot compute are found before there is data, without starting TensorFlow."""

import json
import subprocess
import sys

import pytest
from tensorflow_model_analysis.proto import config_pb2

from ordain.components.evaluator import tfma_internals as inside


def spec(name: str, **settings: object) -> config_pb2.MetricsSpec:
    metric = config_pb2.MetricConfig(class_name=name, config=json.dumps({"name": "m", **settings}))
    return config_pb2.MetricsSpec(metrics=[metric])


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("FBetaScore", "creates its variables with the first data"),
        ("Sum", "does not compare labels with predictions"),
        ("MeanIoU", "it needs num_classes"),
        ("Metric", "does not compare labels with predictions"),
        ("PrecisionAtRecall", "missing 1 required positional argument: 'recall'"),
        ("PearsonCorrelation", "the Keras that TFMA uses has no such class"),
        ("SubKey", "the Keras that TFMA uses has no such class"),
        ("MinLabelPosition", "a query_key is required"),
    ],
)
def test_uncomputable_metrics_are_found_without_data(name, problem):
    model = config_pb2.ModelSpec(label_key="y")
    assert problem in inside.cannot_compute(spec(name), model)


def test_computable_metrics_pass_and_start_no_threads():
    """In a process of its own: in this one TensorFlow may run already."""
    code = """
from tensorflow.python.eager import context
from tensorflow_model_analysis.proto import config_pb2
from ordain.components.evaluator import tfma_internals as inside

model = config_pb2.ModelSpec(label_key="y")
names = ("AUC", "BinaryAccuracy", "F1Score", "RootMeanSquaredError", "SparseCategoricalAccuracy")
for name in (*names, "R2Score"):
    module = "ordain.components.evaluator.r2" if name == "R2Score" else ""
    metric = config_pb2.MetricConfig(class_name=name, module=module)
    spec = config_pb2.MetricsSpec(metrics=[metric])
    problem = inside.cannot_compute(spec, model)
    assert problem is None, (name, problem)
    assert context._context is None or context._context._context_handle is None, name
"""
    found = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr[-2000:]
