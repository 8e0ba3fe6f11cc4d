"""Labels, predictions and weights of a batch of TFMA's extracts, as arrays.

TFMA splits every batch into examples and prepares each one's label, prediction and weight in
Python (`metric_util.to_label_prediction_example_weight`). Usually all examples have numbers of the
same shape, and the same functions prepare the whole batch at once. Otherwise the methods return
None, and the caller processes example by example as TFMA does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma

from ordain.components.evaluator import tfma_internals as inside

#: NumPy type kinds of numbers.
_NUMBERS = "biuf"
#: Keys of a vocabulary in the predictions of Estimators.
_VOCABULARIES = ("all_classes", "classes")


@dataclass(frozen=True)
class Columns:
    """Inputs of a metric, one row per example.

    Attributes:
        label: `[rows, labels]`.
        prediction: `[rows, predictions]`.
        weight: `[rows, 1]`, or as wide as the predictions.
    """

    label: Any
    prediction: Any
    weight: Any


class Batch:
    """A batch of extracts; prepares the inputs of metrics, each once."""

    def __init__(self, extracts: dict[str, Any], rows: int) -> None:
        """Takes the extracts before TFMA splits them into examples."""
        self.rows = rows
        self._extracts = {
            key: extracts[key]
            for key in (
                tfma.constants.LABELS_KEY,
                tfma.constants.PREDICTIONS_KEY,
                tfma.constants.EXAMPLE_WEIGHTS_KEY,
            )
            if key in extracts
        }
        self._made: dict[Any, Columns | None] = {}
        self._examples: list[Any] | None = None

    @property
    def examples(self) -> list[Any]:
        """The batch split as TFMA splits it, for combiners that take examples only."""
        if self._examples is None:
            split = inside.split_extracts(self._extracts)
            self._examples = [inside.StandardMetricInputs(extracts) for extracts in split]
        return self._examples

    @property
    def weights(self) -> Any:
        """Example weights as extracted by TFMA, by model and output if there are several."""
        return self._extracts.get(tfma.constants.EXAMPLE_WEIGHTS_KEY)

    def columns(self, inputs: inside.Inputs) -> Columns | None:
        """Same as TFMA's preparation with `flatten=False`; None if that needs single examples."""
        key = ("columns", inputs.cache_key)
        if key not in self._made:
            self._made[key] = self._columns(inputs)
        return self._made[key]

    def pairs(self, inputs: inside.Inputs, has_fractional_labels: bool = False) -> Columns | None:
        """Same as TFMA's preparation with `flatten=True`: one value for each class.

        Args:
            inputs: Selects labels, predictions and weights.
            has_fractional_labels: Makes two columns of each: label 0 with the weight times
                (1 - label), and label 1 with the weight times label. The caller drops pairs of
                weight 0, as TFMA does.

        Returns:
            Three arrays of the same shape, weights in double precision, as in TFMA. None if a
            value is NaN, which is left to TFMA.
        """
        key = ("pairs", inputs.cache_key, has_fractional_labels)
        if key not in self._made:
            self._made[key] = self._pairs(inputs, has_fractional_labels)
        return self._made[key]

    def _columns(self, inputs: inside.Inputs) -> Columns | None:
        named = self._named(inputs)
        if named is None:
            return None
        label, prediction, weight = (_matrix(value, self.rows) for value in named)
        if label is None or prediction is None or weight is None:
            return None
        return _select(Columns(label, prediction, weight), inputs)

    def _named(self, inputs: inside.Inputs) -> tuple[Any, Any, Any] | None:
        """Label, prediction and weight of the selected model and output."""
        specs = inputs.eval_config.model_specs if inputs.eval_config else []
        # TFMA gives a single model an empty name.
        of_model = [s for s in specs if (s.name if len(specs) > 1 else "") == inputs.model_name]
        spec = of_model[0] if of_model else None
        label = self._extracts.get(tfma.constants.LABELS_KEY)
        prediction = self._extracts.get(tfma.constants.PREDICTIONS_KEY)
        weight = self.weights if inputs.example_weighted else None
        if spec is not None and spec.label_key:
            label = _optional(label, spec.label_key)
        for name in (inputs.model_name, inputs.output_name):
            if name:
                if not (isinstance(prediction, Mapping) and name in prediction):
                    return None
                prediction = prediction[name]
                label, weight = _optional(label, name), _optional(weight, name)
        if label is None or prediction is None or isinstance(label, Mapping):
            return None
        if isinstance(prediction, Mapping):
            if any(key in prediction for key in _VOCABULARIES):
                return None
            key = spec.prediction_key if spec is not None else ""
            label, prediction = inside.prepare_labels_and_predictions(label, prediction, key)
        if weight is None:
            weight = np.ones(self.rows, np.float32)
        return label, prediction, weight

    def _pairs(self, inputs: inside.Inputs, has_fractional_labels: bool) -> Columns | None:
        columns = self.columns(inputs)
        if columns is None:
            return None
        label, prediction = columns.label, columns.prediction
        classes = prediction.shape[1]
        if label.shape[1] != classes:
            if label.shape[1] != 1:
                return None
            label = inside.one_hot(label, prediction)
        weight = columns.weight.astype(np.float64)
        if weight.shape[1] == 1:
            weight = np.repeat(weight, classes, axis=1)
        elif weight.shape[1] != classes:
            return None
        if inputs.class_weights:
            weight = weight * [inputs.class_weights.get(i, 0.0) for i in range(classes)]
        if any(np.isnan(values).any() for values in (label, prediction, weight)):
            return None
        if has_fractional_labels:
            if label.min(initial=0) < 0 or label.max(initial=0) > 1:
                return None
            weight = np.concatenate([weight * (1 - label), weight * label], axis=1)
            label = np.concatenate([np.zeros_like(label), np.ones_like(label)], axis=1)
            prediction = np.concatenate([prediction, prediction], axis=1)
        return Columns(label, prediction, weight)


def _matrix(value: Any, rows: int) -> Any:
    """Numbers as `[rows, n]`, or None for other values."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in _NUMBERS:
        return None
    if value.ndim not in (1, 2) or value.shape[0] != rows or (value.ndim == 2 and not value.size):
        return None
    return value.reshape(rows, -1)


def _optional(value: Any, key: str) -> Any:
    """The entry of that name, or the value itself if there is none."""
    return value[key] if isinstance(value, Mapping) and key in value else value


def _select(columns: Columns, inputs: inside.Inputs) -> Columns:
    """Selects the classes of a sub-key, as in TFMA's preparation of an example."""
    key, label, prediction = inputs.sub_key, columns.label, columns.prediction
    if key is None:
        return columns
    if key.k is not None:
        row, column = inside.top_k_indices(key.k, prediction, sort=True)
        indices = (row[key.k - 1 :: key.k], column[key.k - 1 :: key.k])
        return Columns(*_take(label, prediction, indices), columns.weight)
    if key.top_k is not None:
        indices = inside.top_k_indices(key.top_k, prediction)
        if inputs.aggregation_type is None:
            only = np.full(prediction.shape, -np.inf)
            only[indices] = prediction[indices]
            prediction = only
        else:
            label, prediction = _take(label, prediction, indices)
    if key.class_id is not None:
        label, prediction = inside.select_class_id(key.class_id, label, prediction)
    return Columns(label, prediction, columns.weight)


def _take(label: Any, prediction: Any, indices: Any) -> tuple[Any, Any]:
    if label.shape != prediction.shape:
        label = inside.one_hot(label, prediction)
    return inside.select_indices(label, indices), inside.select_indices(prediction, indices)
