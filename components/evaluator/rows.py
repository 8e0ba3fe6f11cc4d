"""Counts rows and labels of each slice, as one more metric of an evaluation.

A metric's value cannot be judged without them: TFMA's AUC of a slice without a positive is 0.0, and
so is Keras' error of rows whose weights sum to 0. TFMA treats the count like a metric, named
`NAME`, whose value is JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ordain.components.evaluator import tfma_internals as inside

#: Name and class of the metric in an EvalConfig.
NAME, CLASS_NAME, MODULE = "slice_rows", "SliceRowsMetric", "ordain.components.evaluator.rows"
#: Number of groups of equal weight for many different labels, while counting and at the end.
_GROUPS_COUNTING, _GROUPS = 1024, 64


def _no_labels() -> Any:
    return np.empty((0, 3))


@dataclass(frozen=True)
class SliceRows:
    """Rows of a slice.

    Attributes:
        rows: Their number.
        weight: Sum of their weights; 1 each where examples have no weight.
        nan: Rows for which the model predicted NaN.
        label_width: Numbers in a label; 0 if labels are no numbers.
        outputs: Numbers in a prediction; 0 if predictions are no numbers.
        labels: Mean, variance and weight of each group of labels, `[groups, 3] float64`, by mean.
            A group is one label, of variance 0, unless there are more than 64 different numbers.
            A label of several numbers counts as the index of its largest.
    """

    rows: int = 0
    weight: float = 0.0
    nan: int = 0
    label_width: int = 0
    outputs: int = 0
    labels: Any = field(default_factory=_no_labels)

    @property
    def is_binary(self) -> bool:
        """True if the model predicts one number and all labels are 0 or 1."""
        known = self.label_width == self.outputs == 1 and len(self.labels) > 0
        return known and not self.labels[:, 1].any() and {*self.labels[:, 0]} <= {0.0, 1.0}

    def weight_of(self, label: float) -> float:
        """Weight of the rows that have the label."""
        return float(self.labels[self.labels[:, 0] == label, 2].sum())

    def to_json(self) -> str:
        """JSON text."""
        fields = {name: value for name, value in vars(self).items() if name != "labels"}
        return json.dumps({**fields, "labels": self.labels.tolist()})

    @classmethod
    def from_json(cls, text: str | bytes) -> SliceRows:
        """Parses the text of `to_json`."""
        raw = json.loads(text)
        return cls(**{**raw, "labels": np.array(raw["labels"], np.float64).reshape(-1, 3)})


def _merge(parts: Iterable[SliceRows]) -> SliceRows:
    found = list(parts)
    outputs = max((part.outputs for part in found), default=0)
    labels = _merge_equal(np.concatenate([_no_labels(), *(part.labels for part in found)]))
    return SliceRows(
        rows=sum(part.rows for part in found),
        weight=sum(part.weight for part in found),
        nan=sum(part.nan for part in found),
        label_width=max((part.label_width for part in found), default=0),
        outputs=outputs,
        labels=_grouped(labels, _GROUPS_COUNTING) if outputs == 1 else labels,
    )


def _merge_equal(labels: Any) -> Any:
    means, where = np.unique(labels[:, 0], return_inverse=True)
    weight = np.bincount(where, labels[:, 2], len(means))
    variance = np.bincount(where, labels[:, 1] * labels[:, 2], len(means))
    kept = weight > 0
    return np.stack([means, variance / np.where(kept, weight, 1), weight], axis=1)[kept]


def _grouped(labels: Any, groups: int) -> Any:
    """Merges labels into at most `groups` groups of about equal weight; keeps mean and variance."""
    if len(labels) <= groups:
        return labels
    mean, variance, weight = labels.T
    middle = np.cumsum(weight) - weight / 2
    place = np.unique((middle / weight.sum() * groups).astype(np.int64), return_inverse=True)[1]
    total = np.bincount(place, weight)
    means = np.bincount(place, weight * mean) / total
    around = np.bincount(place, weight * (variance + (mean - means[place]) ** 2)) / total
    return np.stack([means, around, total], axis=1)


class RowsCombiner(inside.OwnCombiner):
    """Labels, predictions and weights -> `SliceRows` as JSON text."""

    def create_accumulator(self) -> SliceRows:
        """Returns counts of no rows."""
        return SliceRows()

    def add_input(self, accumulator: SliceRows, element: Any) -> SliceRows:
        """Adds one example, prepared as in TFMA."""
        try:
            # Not flattened: one triple for any number of classes.
            ((label, prediction, weight),) = self._prepared(element, flatten=False, squeeze=False)
        except (KeyError, TypeError, ValueError):  # a structure that only the metrics know
            return _merge([accumulator, SliceRows(rows=1, weight=1.0)])
        return self.add_rows(
            accumulator, *(np.asarray(v).reshape(1, -1) for v in (label, prediction, weight))
        )

    def add_rows(
        self, accumulator: SliceRows, label: Any, prediction: Any, weight: Any
    ) -> SliceRows:
        """Adds rows at once: arrays `[rows, n]`; labels and predictions need not be numbers."""
        weights = weight[:, 0].astype(np.float64)
        label, prediction = (
            values if values.dtype.kind in "biuf" else np.empty((0, 0))
            for values in (label, prediction)
        )
        groups = _no_labels()
        if label.shape[1]:
            wide = label.shape[1] > 1
            values = (np.argmax(label, axis=1) if wide else label[:, 0]).astype(np.float64)
            groups = np.stack([values, np.zeros_like(values), weights], axis=1)
            groups = groups[np.isfinite(values)]
        nan = np.isnan(prediction.astype(np.float64)).any(axis=1).sum()
        found = SliceRows(
            rows=len(weights),
            weight=float(weights.sum()),
            nan=int(nan),
            label_width=label.shape[1],
            outputs=prediction.shape[1],
            labels=groups,
        )
        return _merge([accumulator, found])

    def merge_accumulators(self, accumulators: Iterable[SliceRows]) -> SliceRows:
        """Merges counts."""
        return _merge(accumulators)

    def extract_output(self, accumulator: SliceRows) -> dict[Any, bytes]:
        """The JSON text by the metric's key."""
        whole = _merge([accumulator])
        labels = _grouped(whole.labels, _GROUPS) if whole.outputs == 1 else whole.labels
        return {self._key: SliceRows(**{**vars(whole), "labels": labels}).to_json().encode()}


class SliceRowsMetric(inside.Metric):
    """The TFMA metric; its settings also carry the policies for undefined values."""

    def __init__(self, name: str = NAME, limits: Any = None) -> None:
        """Takes the name, and policies of `pipeline.eval_config` that only the verdict reads."""
        super().__init__(inside.computed_by(RowsCombiner), name=name)
        del limits
