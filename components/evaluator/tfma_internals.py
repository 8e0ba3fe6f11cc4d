"""TFMA's private API as far as evaluation uses it.

TFMA's combiners and its steps from combined metrics to results are not public. Written for TFMA
0.52; `tests/integration/test_evaluator_parity.py` compares the results with TFMA's own after an
upgrade.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator as _steps
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.extractors import slice_key_extractor, unbatch_extractor
from tensorflow_model_analysis.metrics import (
    binary_confusion_matrices,
    calibration,
    calibration_histogram,
    confusion_matrix_metrics,
    example_count,
    mean_regression_error,
    metric_specs,
    metric_types,
    metric_util,
    multi_class_confusion_matrix_metrics,
    squared_pearson_correlation,
    tf_metric_wrapper,
)
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.utils import model_util, util
from tensorflow_model_analysis.utils.keras_lib import tf_keras

# Computations of an EvalConfig without duplicates, and the steps after combining.
to_computations = metric_specs.to_computations
separate = _steps._filter_and_separate_computations
AddDerivedMetrics = _steps._AddDerivedCrossSliceAndDiffMetrics
add_ci_derived_metrics = _steps._add_ci_derived_metrics
remove_private_metrics = _steps._remove_private_metrics
filter_by_key_type = _steps._filter_by_key_type
merge_per_key_computations = metric_util.merge_per_key_computations
Metric = metric_types.Metric
DerivedMetricComputation = metric_types.DerivedMetricComputation
MetricKey = metric_types.MetricKey
PlotKey = metric_types.PlotKey
AttributionsKey = metric_types.AttributionsKey
validate_metrics = metrics_validator.validate_metrics
baseline_spec = model_util.get_baseline_model_spec

# From a batch to its examples, and from an example to its slices.
UNBATCH_STAGE = unbatch_extractor.UNBATCH_EXTRACTOR_STAGE_NAME
split_extracts = util.split_extracts
slices_of = slicer_lib.get_slices_for_features_dicts
SliceKeyExtractor = slice_key_extractor.SliceKeyExtractor
StandardMetricInputs = metric_types.StandardMetricInputs
StandardMetricInputsPreprocessor = metric_types.StandardMetricInputsPreprocessor

# Parts of `metric_util.to_label_prediction_example_weight`; these take batches as well.
pairs_of_example = metric_util.to_label_prediction_example_weight
prepare_labels_and_predictions = metric_util.prepare_labels_and_predictions
top_k_indices = metric_util.top_k_indices
select_indices = metric_util.select_indices
select_class_id = metric_util.select_class_id
one_hot = metric_util.one_hot

# Combiners, and the parts of their accumulators. Besides those of `inputs_of`, the attributes
# used are: of the histogram _left, _range, _num_buckets, _fractional_labels and
# _prediction_based_bucketing; of the matrices _example_id_key, _enable_fractional_labels,
# _extract_label_prediction_and_weight, _thresholds and _binary_confusion_matrices._thresholds;
# of Keras' _output_names, _sub_key_in_config and _process_batch.
CalibrationHistogram = calibration_histogram._CalibrationHistogramCombiner
Bucket = calibration_histogram.Bucket
BinaryConfusionMatrix = binary_confusion_matrices._BinaryConfusionMatrixCombiner
Matrix = binary_confusion_matrices.bcm_computations.Matrix
ThresholdEntry = binary_confusion_matrices.bcm_computations._ThresholdEntry
ConfusionMatrixMetric = confusion_matrix_metrics.ConfusionMatrixMetric
binary_confusion_matrices_of = binary_confusion_matrices.binary_confusion_matrices
registered_metrics = metric_types.registered_metrics
keras_metrics = tf_keras.metrics
MultiClassConfusionMatrix = multi_class_confusion_matrix_metrics._MultiClassConfusionMatrixCombiner
MatrixEntryKey = multi_class_confusion_matrix_metrics.MatrixEntryKey
NO_PREDICTED_CLASS_ID = multi_class_confusion_matrix_metrics.NO_PREDICTED_CLASS_ID
ExampleCount = example_count._ExampleCountCombiner
LabelsAndPredictions = calibration._WeightedLabelsPredictionsExamplesCombiner
SquaredPearsonCorrelation = squared_pearson_correlation._SquaredPearsonCorrelationCombiner
MeanAbsoluteError = mean_regression_error._MeanAbsoluteErrorCombiner
MeanSquaredError = mean_regression_error._MeanSquaredErrorCombiner
MeanAbsolutePercentageError = mean_regression_error._MeanAbsolutePercentageErrorCombiner
MeanSquaredLogarithmicError = mean_regression_error._MeanSquaredLogarithmicErrorCombiner
KerasMetrics = tf_metric_wrapper._CompilableMetricsCombiner


def cannot_compute(spec: Any, model: Any) -> str | None:
    """The reason why the metrics of a MetricsSpec would fail once there is data, or None.

    Keras' classes are inspected, not created: their variables would start TensorFlow's threads,
    and there could be no `worker_process` any more.

    Args:
        spec: The `tfma.MetricsSpec`.
        model: The `tfma.ModelSpec` it is computed for.
    """
    of_tfma = config_pb2.MetricsSpec()
    of_tfma.CopyFrom(spec)
    del of_tfma.metrics[:]
    for metric in spec.metrics:
        if metric.module or metric_types.is_registered_metric(metric.class_name):
            of_tfma.metrics.append(metric)
        else:
            problem = _keras_problem(metric)
            if problem is not None:
                return problem
    config = config_pb2.EvalConfig(model_specs=[model], metrics_specs=[of_tfma])
    try:
        to_computations(list(config.metrics_specs), eval_config=config)
    except Exception as error:  # a class may raise anything for unknown settings
        return " ".join(str(error).split())[:300]
    return None


def _keras_problem(metric: Any) -> str | None:
    kind = getattr(tf_keras.metrics, metric.class_name, None)
    if kind is None:
        return "the Keras that TFMA uses has no such class"
    settings = inspect.signature(kind).parameters.values()
    missing = [
        s.name
        for s in settings
        if s.default is s.empty
        and s.kind is s.POSITIONAL_OR_KEYWORD
        and s.name not in json.loads(metric.config or "{}")
    ]
    return f"it needs {', '.join(missing)}" if missing else why_never(metric.class_name)


def why_never(class_name: str, module: str = "") -> str | None:
    """The reason why a class of metrics cannot be computed with any settings, or None."""
    if module or metric_types.is_registered_metric(class_name):
        return None
    kind = getattr(tf_keras.metrics, class_name)
    if "y_true" not in inspect.signature(kind.update_state).parameters:
        return "it does not compare labels with predictions"
    if "y_true_shape" in inspect.signature(kind.build).parameters:
        return "TFMA cannot merge a metric that creates its variables with the first data"
    return None


def needs_query(class_name: str) -> bool:
    """True if TFMA computes a class only over queries."""
    kind = metric_types.registered_metrics().get(class_name)
    module = inspect.getmodule(kind) if kind is not None else None
    return module is not None and "query_key is required" in inspect.getsource(module)


def threshold_setting(class_name: str) -> str | None:
    """Name of the setting that is a metric's decision threshold (default 0.5), or None."""
    kind = metric_types.registered_metrics().get(class_name)
    if kind is None:
        kind = getattr(tf_keras.metrics, class_name, None)
        parameter = inspect.signature(kind).parameters.get("threshold") if kind else None
        return "threshold" if parameter is not None and parameter.default == 0.5 else None
    if not (has_sub_keys(class_name) and issubclass(kind, ConfusionMatrixMetric)):
        return None
    names = inspect.signature(kind.__init__).parameters
    return next((name for name in ("thresholds", "threshold") if name in names), None)


def has_sub_keys(class_name: str) -> bool:
    """True if a class takes `class_id` and `top_k` as TFMA's `binarize` does."""
    kind = metric_types.registered_metrics().get(class_name)
    # Those of other modules take other predictions, such as boxes in images.
    is_plain = kind is not None and kind.__module__ == confusion_matrix_metrics.__name__
    return is_plain and issubclass(kind, confusion_matrix_metrics.ConfusionMatrixMetricBase)


@dataclass(frozen=True)
class Inputs:
    """Selects the labels, predictions and weights of a combiner.

    The fields are those of TFMA's `to_label_prediction_example_weight`.
    """

    eval_config: Any
    model_name: str
    output_name: str
    sub_key: Any
    aggregation_type: Any
    class_weights: dict[int, float] | None
    example_weighted: bool

    @property
    def cache_key(self) -> tuple[Any, ...]:
        """Equal for equal inputs within one EvalConfig."""
        weights = tuple(sorted((self.class_weights or {}).items()))
        names = (self.model_name, self.output_name, self.sub_key)
        return (*names, self.aggregation_type, weights, self.example_weighted)


def inputs_of(combiner: Any, **changes: Any) -> Inputs:
    """The inputs of one of the combiners above, with `changes`."""
    key = getattr(combiner, "_key", None) or getattr(combiner, "_metric_key", None)
    fields = {
        "eval_config": combiner._eval_config,
        "model_name": key.model_name if key else combiner._model_name,
        "output_name": key.output_name if key else "",
        "sub_key": key.sub_key if key else combiner._sub_key,
        "aggregation_type": getattr(combiner, "_aggregation_type", None),
        "class_weights": getattr(combiner, "_class_weights", None),
        "example_weighted": combiner._example_weighted,
    }
    return Inputs(**(fields | changes))


class OwnCombiner(beam.CombineFn):
    """Base of our combiners: the inputs of a metric, as TFMA's combiners keep them."""

    def __init__(
        self,
        key: Any,
        eval_config: Any,
        aggregation_type: Any = None,
        class_weights: Any = None,
        example_weighted: bool = False,
    ) -> None:
        """Takes TFMA's arguments of a combiner; `inputs_of` reads them."""
        self._key = key
        self._eval_config = eval_config
        self._aggregation_type = aggregation_type
        self._class_weights = class_weights
        self._example_weighted = example_weighted

    def _prepared(self, element: Any, **options: Any) -> Iterable[Any]:
        """Label, prediction and weight of one example, prepared as in TFMA."""
        return pairs_of_example(
            element,
            eval_config=self._eval_config,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
            aggregation_type=self._aggregation_type,
            class_weights=self._class_weights,
            example_weighted=self._example_weighted,
            **options,
        )


def computed_by(combiner: type[OwnCombiner]) -> Callable[..., Any]:
    """Computations of a metric with a combiner of our own, for `Metric`."""

    # TFMA inspects the names of the parameters.
    def compute(
        name: str,
        eval_config: Any = None,
        model_name: str = "",
        output_name: str = "",
        sub_key: Any = None,
        aggregation_type: Any = None,
        class_weights: Any = None,
        example_weighted: bool = False,
    ) -> list[Any]:
        key = MetricKey(
            name=name,
            model_name=model_name,
            output_name=output_name,
            sub_key=sub_key,
            example_weighted=example_weighted,
        )
        made = combiner(key, eval_config, aggregation_type, class_weights, example_weighted)
        return [metric_types.MetricComputation(keys=[key], preprocessors=None, combiner=made)]

    return merge_per_key_computations(compute)


def name_of(metric: Any) -> str:
    """Name of a `tfma.MetricConfig`, which `pipeline.eval_config` puts into its settings."""
    return str(json.loads(metric.config)["name"])
