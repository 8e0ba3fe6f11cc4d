"""Translates a project's metrics, slices and thresholds to TFMA's EvalConfig."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from tensorflow_model_analysis.proto import config_pb2

from ordain.common.node_id import NodeId
from ordain.components.evaluator import rows as evaluation_rows
from ordain.components.evaluator import tfma_internals as inside
from ordain.components.evaluator.thresholds import CLASSES_PLOT, OF_CLASSES
from ordain.config.metrics import Metric
from ordain.config.model import SPAN_SLICE, Evaluate, Limit, SliceLimit, Threshold
from ordain.config.project import Project
from ordain.config.thresholds import Value, check_thresholds, metric_name, values_of
from ordain.errors import ConfigError

#: Signature the models are evaluated through, and the one that prepares features and label.
PREDICT_SIGNATURE = "serving_tf_example"
TRANSFORM_SIGNATURE = "transform_features"
#: Buckets of the predictions between 0 and 1: what the report's curves are drawn from. TFMA makes
#: them out of the histogram that AUC needs anyway.
PLOT_BUCKETS = 500
#: Metrics of our own by class name, and their module: TFMA cannot compute Keras' of that name.
OWN_METRICS = {"R2Score": "ordain.components.evaluator.r2"}
_BINARY = re.compile("AUC|Binary|Precision|Recall|F1Score|Sensitivity|Specificity|Calibration")


def build_eval_config(project: Project, newest_span: int) -> Any:
    """TFMA's EvalConfig of a project.

    Args:
        project: The project.
        newest_span: The span that `thresholds.*.newest` is about.

    Raises:
        ConfigError: A metric cannot be computed, or a threshold limits none.
    """
    evaluate = project.evaluate
    slicing = [config_pb2.SlicingSpec()]
    if not project.is_stock(NodeId.EVALUATOR):  # TFX's does not know an example's span
        slicing.append(config_pb2.SlicingSpec(feature_keys=[SPAN_SLICE]))
    slicing += [config_pb2.SlicingSpec(feature_keys=list(keys)) for keys in evaluate.slices]
    model = config_pb2.ModelSpec(
        signature_name=PREDICT_SIGNATURE,
        label_key=project.data.label,
        preprocessing_function_names=[TRANSFORM_SIGNATURE],
    )
    plain = config_pb2.MetricsSpec()
    specs = [plain]
    check_thresholds(project)
    for entry in evaluate.metrics:
        for value in values_of(entry):
            metric = config_pb2.MetricConfig(
                class_name=entry.class_name,
                module=OWN_METRICS.get(entry.class_name, ""),
                config=json.dumps({"name": value.name, **value.settings}),
            )
            threshold = evaluate.thresholds.get(value.name)
            if threshold is not None:
                for limited in _limit(metric, threshold, newest_span):
                    if limited not in slicing:
                        slicing.append(limited)
            spec = _options(entry, value)
            _check(entry, spec, metric, model)
            if spec == config_pb2.MetricsSpec():
                plain.metrics.append(metric)
            else:
                spec.metrics.append(metric)
                specs.append(spec)
    plain.metrics.extend(_plots(evaluate.metrics))
    return config_pb2.EvalConfig(
        model_specs=[model],
        slicing_specs=slicing,
        metrics_specs=[
            *(spec for spec in specs if spec.metrics),
            config_pb2.MetricsSpec(metrics=[_rows(evaluate, newest_span)]),
        ],
    )


def _slice_limits(threshold: Threshold, newest_span: int) -> list[SliceLimit]:
    """The limits of a threshold on slices, in the order of TFMA's configuration."""
    slices = list(threshold.slices)
    if threshold.newest is not None:
        limits = threshold.newest.model_dump()
        slices.append(SliceLimit(**limits, values={SPAN_SLICE: newest_span}))
    return slices


def _rows(evaluate: Evaluate, newest_span: int) -> Any:
    """The row count of each slice, which also carries the policies for undefined values.

    TFMA's thresholds have no field for them, and the Evaluator takes only an EvalConfig.
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


def _limit(metric: Any, threshold: Threshold, newest_span: int) -> list[Any]:
    """Adds limits to a metric's configuration; returns their slices."""
    if not threshold.is_empty:
        metric.threshold.CopyFrom(_threshold(threshold))
    limits = _slice_limits(threshold, newest_span)
    metric.per_slice_thresholds.extend(map(_per_slice, limits))
    return list(map(_slicing, limits))


def _options(entry: Metric, value: Value) -> Any:
    """TFMA's options of a metric, for one of the values of an entry."""
    spec = config_pb2.MetricsSpec(query_key=entry.query_key or "")
    if value.is_aggregated and entry.aggregate is not None:
        setattr(spec.aggregate, entry.aggregate.kind, True)
        spec.aggregate.class_weights.update(entry.aggregate.class_weights)
        if value.number is not None:
            spec.aggregate.top_k_list.values.append(value.number)
    elif value.number is not None:
        lists = {"class_id": "class_ids", "k": "k_list", "top_k": "top_k_list"}
        getattr(spec.binarize, lists[value.sub_key]).values.append(value.number)
    return spec


def _plots(metrics: Sequence[Metric]) -> list[Any]:
    """Metrics that only the report uses, chosen by the kind of the others."""
    class_names = [entry.class_name for entry in metrics]
    if any(OF_CLASSES.match(name) for name in class_names) or any(map(_is_by_class, metrics)):
        name, options = CLASSES_PLOT, {}
    elif any(_BINARY.match(name) for name in class_names):
        name, options = "CalibrationPlot", {"num_buckets": PLOT_BUCKETS, "left": 0, "right": 1}
    else:
        return []
    if name in class_names:
        return []
    config = json.dumps({"name": metric_name(name), **options})
    return [config_pb2.MetricConfig(class_name=name, config=config)]


def _is_by_class(entry: Metric) -> bool:
    """True if an entry makes sense for several classes only."""
    of_query = entry.class_name == "NDCG"  # the first of a ranking are rows, not classes
    return not of_query and any(v.sub_key or v.is_aggregated for v in values_of(entry))


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


def _check(entry: Metric, options: Any, metric: Any, model: Any) -> None:
    """Refuses a metric before the training rather than after it."""
    spec = config_pb2.MetricsSpec()
    spec.CopyFrom(options)
    spec.metrics.append(metric)
    problem = inside.cannot_compute(spec, model)
    if problem is not None:
        raise ConfigError(
            f"evaluate.metrics: {entry.class_name} cannot be computed with these settings: "
            f"{problem}",
            "correct them, or name another metric (docs/evaluation.md)",
        )
