"""What an evaluation measured, as JSON beside TFMA's files: for readers without TFMA.

TFMA's files can be read by TFMA only, which takes ten seconds and more to import. A report of a
run in which nothing was new would take longer than the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import tensorflow_model_analysis as tfma
from tfx.dsl.io import fileio

from components.evaluation_thresholds import MATRIX, class_of, thresholds_of

#: File in the evaluation artifact.
READOUT_FILE = "readout.json"
_BASELINE = "baseline"


def write_readout(uri: str, config: Any) -> None:
    """Copies the numbers of an evaluation into `readout.json`.

    `metrics` lists name, class, slice (`origin=JFK`; empty for the whole), value and the baseline's
    value; `threshold` and `baseline_threshold` where the metric depends on one. `matrix` is the
    candidate's confusion matrix of the whole window at the threshold that it serves with, null
    where it names none. `histograms` lists, by slice and model, the buckets of the prediction that
    hold examples: index, weight, weight of label 1, sum of predictions; `buckets` of equal width
    from 0 to 1. `confusion` lists actual class, predicted class and weight for the whole window.

    Args:
        uri: Folder of the evaluation.
        config: The `tfma.EvalConfig` that was evaluated.
    """
    measured = list(tfma.load_metrics(uri))
    readout = {
        "metrics": _metrics(measured, config),
        "matrix": _matrix(measured, config),
        **_plots(tfma.load_plots(uri)),
    }
    with fileio.open(f"{uri}/{READOUT_FILE}", "w") as file:
        file.write(json.dumps(readout))


def _metrics(measured: Iterable[Any], config: Any) -> list[dict[str, Any]]:
    thresholds = thresholds_of(config)
    classes = {
        json.loads(metric.config)["name"]: class_of(metric)
        for spec in config.metrics_specs
        for metric in spec.metrics
    }
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in measured:
        where = slice_name(entry.slice_key)
        for pair in entry.metric_keys_and_values:
            if pair.key.is_diff or not pair.value.HasField("double_value"):
                continue
            name, is_baseline = pair.key.name, pair.key.model_name == _BASELINE
            told = {"slice": where, "name": name, "class": classes.get(name, "")}
            both = found.setdefault((where, name), told)
            both["baseline" if is_baseline else "value"] = pair.value.double_value.value
            if (name, is_baseline) in thresholds:
                key = "baseline_threshold" if is_baseline else "threshold"
                both[key] = thresholds[name, is_baseline]
    return list(found.values())


def _matrix(measured: Iterable[Any], config: Any) -> dict[str, float] | None:
    for entry in measured:
        for pair in entry.metric_keys_and_values if not slice_name(entry.slice_key) else ():
            is_ours = pair.key.name == MATRIX and pair.value.HasField(
                "confusion_matrix_at_thresholds"
            )
            if is_ours and pair.key.model_name != _BASELINE and not pair.key.is_diff:
                (found,) = pair.value.confusion_matrix_at_thresholds.matrices
                return {
                    "threshold": thresholds_of(config)[MATRIX, False],
                    "true_positives": found.true_positives,
                    "false_positives": found.false_positives,
                    "true_negatives": found.true_negatives,
                    "false_negatives": found.false_negatives,
                }
    return None


def _plots(drawn: Iterable[Any]) -> dict[str, Any]:
    histograms, confusion = [], []
    for entry in drawn:
        where = slice_name(entry.slice_key)
        for plot in entry.plot_keys_and_values:
            is_baseline = plot.key.model_name == _BASELINE
            buckets = plot.value.calibration_histogram_buckets.buckets
            if len(buckets) > 2:
                found = {"slice": where, "is_baseline": is_baseline, **_histogram(buckets)}
                histograms.append(found)
            matrices = plot.value.multi_class_confusion_matrix_at_thresholds.matrices
            if matrices and not where and not is_baseline:
                confusion = [
                    [e.actual_class_id, e.predicted_class_id, e.num_weighted_examples]
                    for e in matrices[0].entries
                ]
    return {"histograms": histograms, "confusion": confusion}


def _histogram(buckets: Any) -> dict[str, Any]:
    # The first bucket is below 0, the last is 1 and above: they belong to their neighbours.
    last = len(buckets) - 3
    sums: dict[int, list[float]] = {}
    for place, bucket in enumerate(buckets):
        if not bucket.num_weighted_examples.value:
            continue
        total = sums.setdefault(min(max(place - 1, 0), last), [0.0, 0.0, 0.0])
        total[0] += bucket.num_weighted_examples.value
        total[1] += bucket.total_weighted_label.value
        total[2] += bucket.total_weighted_refined_prediction.value
    return {"buckets": last + 1, "cells": [[i, *total] for i, total in sorted(sums.items())]}


def slice_name(key: Any) -> str:
    """A slice as verdicts name it: `origin=JFK`, sorted by column; empty for the whole."""
    parts = []
    for single in key.single_slice_keys:
        kind = single.WhichOneof("kind")
        value = getattr(single, kind) if kind else ""
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        parts.append((single.column, text))
    return ", ".join(f"{column}={text}" for column, text in sorted(parts))
