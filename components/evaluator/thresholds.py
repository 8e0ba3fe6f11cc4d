"""Sets the decision threshold of metrics to the one that a model serves with.

TFMA computes such metrics at 0.5 for every model, and predicts the second class above the
threshold, where a client of the server does at or above it (`ordain.serving.export.signatures`). It
takes a single threshold below 0, which a model of logits may have, for "all predictions".

The configuration is written before the training; the threshold is known only afterwards, from the
exported model. So the Evaluator rewrites the configuration here: each model gets its own threshold,
unless a metric's settings name one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tfx.utils import proto_utils

from ordain.components.evaluator import tfma_internals as inside
from ordain.errors import ConfigError
from ordain.serving.export.description import read_description

#: For a model without one.
DEFAULT_THRESHOLD = 0.5
#: Computed for models that have an output for each class.
CLASSES_PLOT = "MultiClassConfusionMatrixPlot"
#: The confusion matrix that is added for a model with a threshold; the report shows it.
MATRIX = "confusion_matrix"
#: Metrics of models that have an output for each class.
OF_CLASSES = re.compile("(Sparse)?(TopK)?Categorical|MultiClass")


def served_threshold(model: str) -> float | None:
    """The threshold of an exported model; None for one without, such as one of several classes."""
    description = read_description(model)
    return None if description is None else description.threshold


def check_outputs(config: Any, model: str) -> None:
    """Refuses metrics of several classes for a model with one output.

    Some of them end in TFMA's own errors; others, such as CategoricalAccuracy, are right in every
    row because there is only one class.

    Args:
        config: The `tfma.EvalConfig` as the project has it.
        model: Folder of the candidate's SavedModel.

    Raises:
        ConfigError: There are such metrics.
    """
    description = read_description(model)
    if description is None or description.task == "multiclass":
        return
    found = {
        json.loads(metric.config)["name"]: metric.class_name
        for spec in config.metrics_specs
        for metric in spec.metrics
        if (not spec.query_key and not _is_plain(spec)) or OF_CLASSES.match(metric.class_name)
    }
    if found:
        # The plot was added for the others, if there are any.
        names = [name for name, kind in found.items() if kind != CLASSES_PLOT] or list(found)
        raise ConfigError(
            f"evaluate.metrics: {', '.join(names)}: metrics of several classes, but the trained "
            f"model has one output ({description.task})",
            "remove class_id, k, top_k, binarize and aggregate, and classes such as "
            "CategoricalAccuracy; BinaryAccuracy, AUC, Precision and Recall are for two classes",
        )


def read_configs(text: str, model: str, baseline: str | None) -> tuple[Any, Any]:
    """Reads an Evaluator's configuration.

    Args:
        text: The execution property `eval_config`.
        model: Folder of the candidate's SavedModel.
        baseline: Folder of the baseline's; None without one.

    Returns:
        The `tfma.EvalConfig` as the project has it, and the one to evaluate: defaults filled in, a
        threshold in every metric that depends on one. Without a baseline TFMA takes the limits on
        changes out of the second.

    Raises:
        ConfigError: The metrics do not fit the candidate's outputs.
    """
    wanted = config_pb2.EvalConfig()
    proto_utils.json_to_proto(text, wanted)
    check_outputs(wanted, model)
    config = tfma.utils.update_eval_config_with_defaults(
        wanted, has_baseline=baseline is not None, rubber_stamp=True
    )
    served = {
        spec.name: served_threshold(baseline if spec.is_baseline and baseline else model)
        for spec in config.model_specs
    }
    return wanted, at_served_thresholds(config, served)


def at_served_thresholds(config: Any, served: Mapping[str, float | None]) -> Any:
    """The configuration with a threshold in every metric that depends on one.

    Args:
        config: The `tfma.EvalConfig`, defaults filled in.
        served: The threshold of each model by the name of its ModelSpec.

    Returns:
        A new configuration. Limits stay with the candidate's metrics.
    """
    result = config_pb2.EvalConfig()
    result.CopyFrom(config)
    specs = []
    baselines = {spec.name for spec in config.model_specs if spec.is_baseline}
    with_matrix: set[str] = set()
    for spec in config.metrics_specs:
        shared = config_pb2.MetricsSpec()
        shared.CopyFrom(spec)
        specs.append(shared)
        del shared.metrics[:]
        own = []
        for metric in spec.metrics:
            settings = json.loads(metric.config)
            key = inside.threshold_setting(metric.class_name)
            # Without its own threshold, TFMA counts all of the first k.
            if key is None or (key not in settings and _has_top_k(spec)):
                shared.metrics.append(metric)
            elif key in settings:
                shared.metrics.append(_at(metric, key, settings[key]))
            else:
                own.append((metric, key))
        for name in spec.model_names or [""]:
            threshold = served.get(name)
            metrics = [
                _at(m, key, DEFAULT_THRESHOLD if threshold is None else threshold) for m, key in own
            ]
            if threshold is not None and _is_plain(spec) and name not in with_matrix:
                with_matrix.add(name)
                matrix = {"of": "", "threshold": threshold, "name": MATRIX}
                metrics.append(_of_ours(matrix))
            if name in baselines:
                for metric in metrics:
                    metric.ClearField("threshold")
                    del metric.per_slice_thresholds[:]
            if metrics:
                alone = config_pb2.MetricsSpec()
                alone.CopyFrom(shared)
                specs.append(alone)
                del alone.metrics[:], alone.model_names[:]
                alone.model_names.append(name)
                alone.metrics.extend(metrics)
    del result.metrics_specs[:]
    result.metrics_specs.extend(spec for spec in specs if spec.metrics)
    return result


def _is_plain(spec: Any) -> bool:
    return not (spec.HasField("binarize") or spec.HasField("aggregate") or spec.query_key)


def _has_top_k(spec: Any) -> bool:
    return bool(spec.binarize.top_k_list.values or spec.aggregate.top_k_list.values)


def _at(metric: Any, key: str, threshold: Any) -> Any:
    """A metric at one threshold; as it is, with a list of several."""
    if isinstance(threshold, list):
        if len(threshold) != 1:
            return metric
        (threshold,) = threshold
    settings = json.loads(metric.config)
    if inside.has_sub_keys(metric.class_name):
        ours = {"of": metric.class_name, "threshold": threshold, "name": settings["name"]}
        changed = _of_ours(ours)
    else:  # Keras: the second class is at or above the threshold
        changed = config_pb2.MetricConfig(
            class_name=metric.class_name, config=json.dumps({**settings, key: threshold})
        )
    if metric.HasField("threshold"):
        changed.threshold.CopyFrom(metric.threshold)
    changed.per_slice_thresholds.extend(metric.per_slice_thresholds)
    return changed


def _of_ours(settings: dict[str, Any]) -> Any:
    return config_pb2.MetricConfig(
        class_name=AtThreshold.__name__, module=__name__, config=json.dumps(settings)
    )


class AtThreshold(inside.Metric):
    """A TFMA metric of the confusion matrix, with predictions at or above a threshold."""

    def __init__(self, of: str, threshold: float, name: str) -> None:
        """Takes the TFMA class (empty for the matrix itself), threshold and name."""
        compute = inside.merge_per_key_computations(_computations)
        super().__init__(compute, of=of, threshold=threshold, name=name)


def _computations(
    of: str,
    threshold: float,
    name: str,
    eval_config: Any = None,
    model_name: str = "",
    output_name: str = "",
    sub_key: Any = None,
    aggregation_type: Any = None,
    class_weights: Any = None,
    example_weighted: bool = False,
) -> list[Any]:
    """Computations of the metric; TFMA inspects the names of the parameters."""
    key = inside.MetricKey(
        name=name,
        model_name=model_name,
        output_name=output_name,
        sub_key=sub_key,
        aggregation_type=aggregation_type,
        example_weighted=example_weighted,
    )
    # Models predict in single precision: above the next smaller number means at or above.
    below = float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))
    found = inside.binary_confusion_matrices_of(
        thresholds=[below],
        eval_config=eval_config,
        model_name=model_name,
        output_name=output_name,
        sub_key=sub_key,
        aggregation_type=aggregation_type,
        class_weights=class_weights,
        example_weighted=example_weighted,
        use_histogram=False,
    )
    matrices = found[-1].keys[-1]
    kind = inside.registered_metrics()[of]() if of else None

    def result(metrics: dict[Any, Any]) -> dict[Any, Any]:
        value = metrics[matrices]
        return {key: value if kind is None else kind._metric_value(key=key, matrices=value)}

    return [*found, inside.DerivedMetricComputation(keys=[key], result=result)]


def thresholds_of(config: Any) -> dict[tuple[str, bool], float]:
    """Thresholds by metric name and whether it is the baseline's."""
    baselines = {spec.name for spec in config.model_specs if spec.is_baseline}
    found = {}
    for spec in config.metrics_specs:
        for metric in spec.metrics:
            settings = json.loads(metric.config)
            if "threshold" in settings:
                for name in spec.model_names:
                    found[settings["name"], name in baselines] = float(settings["threshold"])
    return found


def classes_of(config: Any) -> dict[str, str]:
    """The class of each metric in the project's configuration, by the metric's name."""
    metrics = [metric for spec in config.metrics_specs for metric in spec.metrics]
    return {inside.name_of(metric): _class_of(metric) for metric in metrics}


def _class_of(metric: Any) -> str:
    settings = json.loads(metric.config)
    if metric.class_name == AtThreshold.__name__:
        return str(settings["of"])
    return "AUCPrecisionRecall" if settings.get("curve") == "PR" else str(metric.class_name)
