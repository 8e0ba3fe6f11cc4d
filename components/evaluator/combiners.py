"""Adds rows of a batch to TFMA's combiners at once instead of example by example.

Accumulators are TFMA's own, except for histograms (`histogram.py`), so that merging and results are
unchanged. An unknown combiner, and one whose inputs are not plain numbers, gets its examples one by
one, as in TFMA.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ordain.components.evaluator import tfma_internals as inside
from ordain.components.evaluator.batches import Batch, Columns
from ordain.components.evaluator.histogram import HistogramCombiner
from ordain.components.evaluator.r2 import R2Combiner
from ordain.components.evaluator.rows import RowsCombiner
from ordain.errors import DataBlockedError

#: Takes combiner, accumulator, batch and row numbers; returns the accumulator, or None if it cannot
#: take the batch.
Adder = Callable[[Any, Any, Batch, Any], Any]


def add_rows(combiner: Any, accumulator: Any, batch: Batch, rows: Any) -> Any:
    """Adds examples to an accumulator.

    Args:
        combiner: A TFMA combiner.
        accumulator: Its accumulator, or the result of an earlier call.
        batch: The examples.
        rows: Numbers of those to add, `[n] int64`.

    Returns:
        The accumulator with the examples.
    """
    # Exact type only: a subclass may add in its own way.
    adder = ADDERS.get(type(combiner))
    added = adder(combiner, accumulator, batch, rows) if adder else None
    return added if added is not None else _add_examples(combiner, accumulator, batch, rows)


def _add_examples(combiner: Any, accumulator: Any, batch: Batch, rows: Any) -> Any:
    for row in rows:
        example = batch.examples[row]
        try:
            accumulator = combiner.add_inputs(accumulator, [example])
        except Exception as error:
            label = _foreign_label(example)
            if label is not None:
                raise DataBlockedError(
                    f"evaluation: a row has the label {label:g}; a metric of two classes takes "
                    "labels from 0 to 1",
                    "make the labels 0 and 1 in the data or in preprocessing_fn, or give the model "
                    "an output for each class and evaluate.metrics such as "
                    "SparseCategoricalAccuracy",
                ) from error
            raise RuntimeError(
                f'add_input failed on "{combiner}" with inputs:\n{example}'
            ) from error
    return accumulator


def _foreign_label(example: Any) -> float | None:
    """A label outside 0 to 1 of an example with a single prediction, or None."""
    try:
        labels, predictions = np.asarray(example["labels"]), np.asarray(example["predictions"])
        foreign = labels[~((labels >= 0) & (labels <= 1))]
    except (KeyError, TypeError, IndexError):  # several outputs, or text labels
        return None
    return float(foreign.flat[0]) if foreign.size and predictions.size == 1 else None


def _flat(pairs: Columns, rows: Any) -> tuple[Any, Any, Any]:
    """Labels, predictions and weights of some rows, each `[pairs] float64`."""
    label, prediction, weight = (
        values[rows].ravel().astype(np.float64)
        for values in (pairs.label, pairs.prediction, pairs.weight)
    )
    return label, prediction, weight


def _weighty(pairs: Columns, rows: Any) -> tuple[Any, Any, Any]:
    """The same without weights of 0, which TFMA drops for fractional labels."""
    label, prediction, weight = _flat(pairs, rows)
    has_weight = weight != 0
    return label[has_weight], prediction[has_weight], weight[has_weight]


def _add_histogram(combiner: Any, accumulator: Any, batch: Batch, rows: Any) -> Any:
    is_fractional = bool(combiner._fractional_labels)
    pairs = batch.pairs(inside.inputs_of(combiner), is_fractional)
    if pairs is None:
        return None
    return combiner.add_rows(accumulator, *(_weighty if is_fractional else _flat)(pairs, rows))


def _add_matrices(combiner: Any, accumulator: Any, batch: Batch, rows: Any) -> Any:
    is_plain = combiner._extract_label_prediction_and_weight is inside.pairs_of_example
    if combiner._example_id_key or not combiner._enable_fractional_labels or not is_plain:
        return None
    pairs = batch.pairs(inside.inputs_of(combiner), True)
    if pairs is None:
        return None
    label, prediction, weight = _weighty(pairs, rows)
    thresholds = np.unique(np.asarray(combiner._binary_confusion_matrices._thresholds, np.float64))
    # Number of thresholds below each prediction. Sums over these are only added, never
    # subtracted: an empty count stays exactly 0.
    above = np.searchsorted(thresholds, prediction, side="left")
    sums = {}
    for is_positive in (True, False):
        chosen = (label == 1) == is_positive
        # Without rows NumPy returns integers, by which TFMA's matrices would then divide.
        sums[is_positive] = np.bincount(
            above[chosen], weights=weight[chosen], minlength=len(thresholds) + 1
        ).astype(np.float64)
    over = {k: np.cumsum(v[::-1])[::-1][1:].tolist() for k, v in sums.items()}
    under = {k: np.cumsum(v)[:-1].tolist() for k, v in sums.items()}
    found = {}
    for i, threshold in enumerate(thresholds.tolist()):
        matrix = inside.Matrix(
            tp=over[True][i], tn=under[False][i], fp=over[False][i], fn=under[True][i]
        )
        found[threshold] = inside.ThresholdEntry(matrix, [], [], [], [])
    return combiner.merge_accumulators(iter([accumulator, found]))


def _add_classes(combiner: Any, accumulator: Any, batch: Batch, rows: Any) -> Any:
    if combiner._extract_label_prediction_and_weight is not inside.pairs_of_example:
        return None
    inputs = inside.inputs_of(combiner, sub_key=None)
    columns = batch.columns(inputs)
    if columns is None or columns.weight.shape[1] != 1 or columns.prediction.shape[1] == 1:
        return None
    label, prediction = columns.label[rows], columns.prediction[rows]
    weight = columns.weight[rows, 0].astype(np.float64)
    if np.isnan(label).any() or np.isnan(prediction).any():
        return None
    actual = np.argmax(label, axis=1) if label.shape[1] > 1 else label[:, 0].astype(np.int64)
    predicted = np.argmax(prediction, axis=1)
    wide = prediction.shape[1] + 1
    for threshold in combiner._thresholds:
        # As in TFMA, a class that was dropped at one threshold stays dropped at the next ones,
        # compared by the prediction of the last class, which index -1 selects.
        low = prediction[np.arange(len(rows)), predicted] <= threshold
        predicted = np.where(low, inside.NO_PREDICTED_CLASS_ID, predicted)
        codes, where = np.unique(actual * wide + predicted + 1, return_inverse=True)
        entries = accumulator.setdefault(threshold, {})
        for code, total in zip(codes.tolist(), np.bincount(where, weights=weight), strict=True):
            actual_id, predicted_id = divmod(code, wide)
            key = inside.MatrixEntryKey(actual_id, predicted_id - 1)
            entries[key] = entries.get(key, 0.0) + float(total)
    return accumulator


def _add_count(combiner: Any, accumulator: Any, batch: Batch, rows: Any) -> Any:
    weights = batch.weights if combiner._example_weighted else None
    if weights is None:
        return accumulator + float(len(rows))
    for name in (combiner._model_name, combiner._output_name):
        if name and isinstance(weights, dict):
            weights = weights.get(name)
    if not isinstance(weights, np.ndarray) or weights.dtype.kind not in "biuf":
        return None
    return accumulator + float(weights[rows].sum(dtype=np.float64))


def _add_labels_and_predictions(combiner: Any, accumulator: Any, batch: Batch, rows: Any) -> Any:
    inputs = inside.inputs_of(combiner)
    pairs = None
    if inputs.sub_key is None or inputs.sub_key.top_k is None:
        pairs = batch.pairs(inputs)
    if pairs is None:
        return None
    label, prediction, weight = _flat(pairs, rows)
    accumulator.total_weighted_examples += float(weight.sum())
    accumulator.total_weighted_labels += float((label * weight).sum())
    accumulator.total_weighted_predictions += float((prediction * weight).sum())
    return accumulator


def _add_correlation(combiner: Any, accumulator: Any, batch: Batch, rows: Any) -> Any:
    pairs = batch.pairs(inside.inputs_of(combiner, sub_key=None))
    if pairs is None:
        return None
    label, prediction, weight = _flat(pairs, rows)
    accumulator.total_weighted_labels += float((weight * label).sum())
    accumulator.total_weighted_predictions += float((weight * prediction).sum())
    accumulator.total_weighted_squared_labels += float((weight * label**2).sum())
    accumulator.total_weighted_squared_predictions += float((weight * prediction**2).sum())
    accumulator.total_weighted_labels_times_predictions += float(
        (weight * label * prediction).sum()
    )
    accumulator.total_weighted_examples += float(weight.sum())
    return accumulator


def _add_explained(combiner: Any, accumulator: Any, batch: Batch, rows: Any) -> Any:
    pairs = batch.pairs(inside.inputs_of(combiner))
    return None if pairs is None else combiner.add_rows(accumulator, *_flat(pairs, rows))


def _add_slice_rows(combiner: Any, accumulator: Any, batch: Batch, rows: Any) -> Any:
    columns = batch.columns(inside.inputs_of(combiner))
    if columns is None:
        return None
    return combiner.add_rows(
        accumulator, columns.label[rows], columns.prediction[rows], columns.weight[rows]
    )


def _percentage(label: Any, prediction: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        error = 100 * np.abs((label - prediction) / label)
    return np.where(label == 0, np.nan, error)


def _logarithmic(label: Any, prediction: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return (np.log(label + 1) - np.log(prediction + 1)) ** 2


#: Error of a prediction; NaN where TFMA drops the example.
_ERRORS: dict[type, Callable[[Any, Any], Any]] = {
    inside.MeanAbsoluteError: lambda label, prediction: np.abs(label - prediction),
    inside.MeanSquaredError: lambda label, prediction: (label - prediction) ** 2,
    inside.MeanAbsolutePercentageError: _percentage,
    inside.MeanSquaredLogarithmicError: _logarithmic,
}


def _add_error(combiner: Any, accumulator: Any, batch: Batch, rows: Any) -> Any:
    pairs = batch.pairs(inside.inputs_of(combiner))
    if pairs is None:
        return None
    # Subtracted in the precision of the values, as in TFMA, then summed in double precision.
    error = _ERRORS[type(combiner)](pairs.label[rows], pairs.prediction[rows])
    error, weight = error.ravel().astype(np.float64), pairs.weight[rows].ravel()
    is_number = ~np.isnan(error)
    accumulator.total_regression_error += float((error * weight)[is_number].sum())
    accumulator.total_example_weights += float(weight[is_number].sum())
    return accumulator


def _add_to_keras(combiner: Any, accumulator: Any, batch: Batch, rows: Any) -> Any:
    """Fills TFMA's buffer of inputs, which it passes to Keras a thousand at a time."""
    if combiner._aggregation_type and combiner._aggregation_type.micro_average:
        return None
    changes = {"sub_key": None} if combiner._sub_key_in_config else {}
    outputs = []
    for name in combiner._output_names:
        columns = batch.columns(inside.inputs_of(combiner, output_name=name, **changes))
        if columns is None:
            return None
        label, prediction = columns.label, columns.prediction
        if combiner._sub_key_in_config and label.shape != prediction.shape:
            label = inside.one_hot(label, prediction)
        outputs.append([list(v[rows]) for v in (label, prediction, columns.weight)])
    for i in range(len(rows)):
        for output, (label, prediction, weight) in enumerate(outputs):
            accumulator.add_input(output, label[i], prediction[i], weight[i])
        if accumulator.should_flush():
            combiner._process_batch(accumulator)
    return accumulator


ADDERS: dict[type, Adder] = {
    HistogramCombiner: _add_histogram,
    inside.BinaryConfusionMatrix: _add_matrices,
    inside.MultiClassConfusionMatrix: _add_classes,
    inside.ExampleCount: _add_count,
    inside.LabelsAndPredictions: _add_labels_and_predictions,
    inside.SquaredPearsonCorrelation: _add_correlation,
    inside.KerasMetrics: _add_to_keras,
    R2Combiner: _add_explained,
    RowsCombiner: _add_slice_rows,
    **dict.fromkeys(_ERRORS, _add_error),
}
