"""Trivial predictors: the same prediction for every row, measured on the labels of a slice.

A limit that one of them passes proves nothing about a model. The predictions come from the labels
of the whole window: the majority class, the shares of the classes as scores, and for numeric labels
mean and median. The metrics are TFMA's and Keras' own, with the project's settings.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from ordain.components.evaluator import tfma_internals as inside
from ordain.components.evaluator.batches import Batch
from ordain.components.evaluator.combiners import add_rows
from ordain.components.evaluator.histogram import with_arrays
from ordain.components.evaluator.rows import CLASS_NAME, SliceRows

#: Metrics that ignore predictions or need no distinction between rows.
WITHOUT_SKILL = frozenset(
    {
        "ExampleCount",
        "WeightedExampleCount",
        "MeanLabel",
        "MeanPrediction",
        "Calibration",
        "Prevalence",
        CLASS_NAME,
    }
)
#: TFMA uses 10,000 thresholds, a second for thirty slices; here all scores are the same.
_CURVES, _FEW_THRESHOLDS = ("AUC", "AUCPrecisionRecall"), 100
_WEIGHT = "weight"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Constant:
    """A trivial predictor.

    Attributes:
        name: Such as `always answering '0'`.
        prediction: `[outputs]`.
    """

    name: str
    prediction: Any


def constants_of(rows: SliceRows) -> list[Constant]:
    """The trivial predictors for these labels; empty if labels are unknown."""
    if not rows.label_width or not rows.outputs or not len(rows.labels):
        return []
    mean, _, weight = rows.labels.T
    majority = float(mean[np.argmax(weight)])
    if rows.outputs > 1:
        if not _are_classes(rows):
            return []
        shares = np.bincount(mean.astype(np.int64), weight, rows.outputs) / weight.sum()
        return [
            Constant(f"always answering '{majority:g}'", np.eye(rows.outputs)[int(majority)]),
            Constant("answering with the classes' shares", shares),
        ]
    average = float((mean * weight).sum() / weight.sum())
    if rows.is_binary:
        return [
            Constant(f"always answering '{majority:g}'", np.array([majority])),
            Constant(f"always answering the base rate {average:.4g}", np.array([average])),
        ]
    median = float(mean[np.searchsorted(np.cumsum(weight), weight.sum() / 2)])
    return [
        Constant(f"always answering the mean {average:.4g}", np.array([average])),
        Constant(f"always answering the median {median:.4g}", np.array([median])),
    ]


def _are_classes(rows: SliceRows) -> bool:
    classes = rows.labels[:, 0]
    is_whole = not rows.labels[:, 1].any() and bool((classes == classes.astype(np.int64)).all())
    return is_whole and classes.min() >= 0 and classes.max() < rows.outputs


class TrivialMetrics:
    """Computes the metrics of an EvalConfig for trivial predictors."""

    def __init__(self, config: Any) -> None:
        """Takes the `tfma.EvalConfig`; metrics that need more than labels are skipped."""
        self._computations: dict[str, Any] = {}
        baselines = {spec.name for spec in config.model_specs if spec.is_baseline}
        for spec in config.metrics_specs:
            if spec.model_names and baselines.issuperset(spec.model_names):
                continue  # computed at the baseline's threshold
            for metric in spec.metrics:
                name = inside.name_of(metric)
                if metric.class_name not in WITHOUT_SKILL and not spec.query_key:
                    found = self._made(spec, metric, name)
                    if found is not None:
                        self._computations[name] = found

    def _made(self, spec: Any, metric: Any, name: str) -> Any:
        alone = config_pb2.MetricsSpec()
        alone.CopyFrom(spec)
        for several in (alone.metrics, alone.model_names, alone.output_names):
            del several[:]
        alone.metrics.append(metric)
        settings = json.loads(metric.config)
        if metric.class_name in _CURVES and "thresholds" not in settings:
            alone.metrics[0].config = json.dumps({**settings, "num_thresholds": _FEW_THRESHOLDS})
        alone.example_weights.weighted = True
        alone.example_weights.unweighted = False
        config = config_pb2.EvalConfig(
            model_specs=[config_pb2.ModelSpec(example_weight_key=_WEIGHT)], metrics_specs=[alone]
        )
        try:
            return inside.separate(inside.to_computations([alone], eval_config=config))
        except Exception as error:  # any class, which may need a model's name
            _LOG.info("%s is not computed for trivial predictors: %s", name, error)
            return None

    def measure(self, name: str, rows: SliceRows, constant: Constant) -> float | None:
        """Computes a metric of a trivial predictor on the rows of a slice.

        Args:
            name: The metric.
            rows: The slice's.
            constant: The predictor.

        Returns:
            None if the metric has no finite value or cannot be computed from labels alone.
        """
        found = self._computations.get(name)
        if found is None or rows.weight <= 0 or not len(rows.labels):
            return None
        batch = _batch(rows, constant)
        results: dict[Any, Any] = {}
        try:
            for computation in found.non_derived_computations:
                results.update(_combined(computation.combiner, batch))
            for computation in found.derived_computations:
                results.update(computation.result(results))
        except Exception as error:  # see above
            _LOG.info("%s is not computed for trivial predictors: %s", name, error)
            return None
        values = [value for key, value in results.items() if key.name == name]
        is_number = len(values) == 1 and isinstance(values[0], int | float | np.number)
        value = float(values[0]) if is_number else float("nan")
        return value if np.isfinite(value) else None


def _combined(combiner: Any, batch: Batch) -> Any:
    combiner = with_arrays(combiner)
    combiner.setup()
    everything = np.arange(batch.rows)
    filled = add_rows(combiner, combiner.create_accumulator(), batch, everything)
    return combiner.extract_output(filled)


def _batch(rows: SliceRows, constant: Constant) -> Batch:
    """One example per group of labels; two with the same spread where its labels differ."""
    mean, variance, weight = rows.labels.T
    spread = np.sqrt(variance)
    varies = spread > 0
    label = np.concatenate([(mean - spread)[varies], (mean + spread)[varies], mean[~varies]])
    weights = np.concatenate([weight[varies] / 2, weight[varies] / 2, weight[~varies]])
    labels = label.astype(np.float32)[:, None]
    if rows.label_width > 1:
        labels = np.eye(rows.label_width, dtype=np.float32)[label.astype(np.int64)]
    predictions = np.tile(constant.prediction.astype(np.float32), (len(label), 1))
    extracts = {
        tfma.constants.LABELS_KEY: labels,
        tfma.constants.PREDICTIONS_KEY: predictions,
        tfma.constants.EXAMPLE_WEIGHTS_KEY: weights[:, None],
    }
    return Batch(extracts, len(label))
