"""From a project's metrics, slices and thresholds to TFMA's EvalConfig."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Sequence
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components import evaluation_rows
from components import evaluation_tfma as inside
from contracts.errors import ConfigError
from pipeline.config import Project
from pipeline.config_model import SPAN_SLICE, Evaluate, Limit, SliceLimit, Threshold
from pipeline.thresholds import metric_name

#: Signature the models are evaluated through, and the one that prepares features and label.
PREDICT_SIGNATURE = "serving_tf_example"
TRANSFORM_SIGNATURE = "transform_features"
#: Buckets of the predictions between 0 and 1: what the report's curves are drawn from. TFMA makes
#: them out of the histogram that AUC needs anyway.
PLOT_BUCKETS = 500
#: Metrics of our own by class name, and their module: TFMA cannot compute Keras' of that name.
OWN_METRICS = {"R2Score": "components.evaluation_r2"}
_MULTI_CLASS = re.compile("(Sparse)?(TopK)?Categorical|MultiClass")
_BINARY = re.compile("AUC|Binary|Precision|Recall|F1Score|Sensitivity|Specificity|Calibration")


def build_eval_config(project: Project, newest_span: int) -> Any:
    """TFMA's EvalConfig of a project.

    Args:
        project: The project.
        newest_span: The span that `thresholds.*.newest` is about.

    Raises:
        ConfigError: A metric's class is known neither to TFMA nor to Keras.
    """
    evaluate = project.evaluate
    slicing = [config_pb2.SlicingSpec()]
    if not project.is_stock("Evaluator"):  # TFX's does not know an example's span
        slicing.append(config_pb2.SlicingSpec(feature_keys=[SPAN_SLICE]))
    slicing += [config_pb2.SlicingSpec(feature_keys=list(keys)) for keys in evaluate.slices]
    model = config_pb2.ModelSpec(
        signature_name=PREDICT_SIGNATURE,
        label_key=project.data.label,
        preprocessing_function_names=[TRANSFORM_SIGNATURE],
    )
    metrics = []
    for class_name in evaluate.metrics:
        name = metric_name(class_name)
        metric = config_pb2.MetricConfig(
            class_name=class_name,
            module=OWN_METRICS.get(class_name, ""),
            config=json.dumps({"name": name}),
        )
        _check(metric, model)
        threshold = evaluate.thresholds.get(name)
        if threshold is not None:
            if not threshold.is_empty:
                metric.threshold.CopyFrom(_threshold(threshold))
            for limit in _slice_limits(threshold, newest_span):
                metric.per_slice_thresholds.append(_per_slice(limit))
                spec = _slicing(limit)
                if spec not in slicing:
                    slicing.append(spec)
        metrics.append(metric)
    metrics += _plots(evaluate.metrics)
    return config_pb2.EvalConfig(
        model_specs=[model],
        slicing_specs=slicing,
        metrics_specs=[
            config_pb2.MetricsSpec(metrics=metrics),
            config_pb2.MetricsSpec(metrics=[_rows(evaluate, newest_span)]),
        ],
    )


def _slice_limits(threshold: Threshold, newest_span: int) -> list[SliceLimit]:
    """The limits of a threshold on slices, in the order in which TFMA is given them."""
    slices = list(threshold.slices)
    if threshold.newest is not None:
        limits = threshold.newest.model_dump()
        slices.append(SliceLimit(**limits, values={SPAN_SLICE: newest_span}))
    return slices


def _rows(evaluate: Evaluate, newest_span: int) -> Any:
    """The count of each slice's rows; what becomes of undefined values rides along with it.

    TFMA's thresholds have no place for that, and the Evaluator takes nothing but an EvalConfig.
    """
    limits = {
        name: {
            "whole": threshold.policy,
            "slices": [limit.policy for limit in _slice_limits(threshold, newest_span)],
        }
        for name, threshold in evaluate.thresholds.items()
    }
    config = json.dumps({"name": evaluation_rows.NAME, "limits": limits})
    return config_pb2.MetricConfig(
        class_name=evaluation_rows.CLASS_NAME, module=evaluation_rows.MODULE, config=config
    )


def _plots(class_names: Sequence[str]) -> list[Any]:
    """What the report draws and no threshold asks for, by the kind of metrics there are."""
    if any(_MULTI_CLASS.match(name) for name in class_names):
        name, options = "MultiClassConfusionMatrixPlot", {}
    elif any(_BINARY.match(name) for name in class_names):
        name, options = "CalibrationPlot", {"num_buckets": PLOT_BUCKETS, "left": 0, "right": 1}
    else:
        return []
    if name in class_names:
        return []
    config = json.dumps({"name": metric_name(name), **options})
    return [config_pb2.MetricConfig(class_name=name, config=config)]


def _threshold(limit: Limit) -> Any:
    threshold = config_pb2.MetricThreshold()
    if limit.min is not None or limit.max is not None:
        # TFMA wants both bounds; an infinite one bounds nothing.
        low, high = limit.min, limit.max
        threshold.value_threshold.lower_bound.value = -math.inf if low is None else low
        threshold.value_threshold.upper_bound.value = math.inf if high is None else high
    if limit.max_drop is not None:
        threshold.change_threshold.direction = config_pb2.MetricDirection.HIGHER_IS_BETTER
        threshold.change_threshold.absolute.value = -limit.max_drop
    if limit.max_rise is not None:
        threshold.change_threshold.direction = config_pb2.MetricDirection.LOWER_IS_BETTER
        threshold.change_threshold.absolute.value = limit.max_rise
    return threshold


def _slicing(limit: SliceLimit) -> Any:
    if limit.keys:
        return config_pb2.SlicingSpec(feature_keys=list(limit.keys))
    return config_pb2.SlicingSpec(
        feature_values={k: _slice_value(v) for k, v in limit.values.items()}
    )


def _slice_value(value: object) -> str:
    """A slice's value as TFMA writes it; a boolean column holds 0 and 1."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _per_slice(limit: SliceLimit) -> Any:
    return config_pb2.PerSliceMetricThreshold(
        slicing_specs=[_slicing(limit)], threshold=_threshold(limit)
    )


def _check(metric: Any, model: Any) -> None:
    """Refuses a metric now, not when the model has been trained."""
    import keras  # noqa: PLC0415  as heavy as TFMA, and only its names are wanted

    name = metric.class_name
    known = {*dir(tfma.metrics), *dir(keras.metrics)}
    known = {name for name in known if name[:1].isupper()}
    if name not in known:
        near = difflib.get_close_matches(name, sorted(known), n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"evaluate.metrics: {name!r} is no metric of TFMA or Keras{meant}")
    problem = inside.cannot_compute(metric, model)
    if problem is not None:
        raise ConfigError(
            f"evaluate.metrics: {name} cannot be computed with its default settings, and there is "
            f"no key for others: {problem}",
            "leave it out, or name another metric (docs/evaluation.md)",
        )
