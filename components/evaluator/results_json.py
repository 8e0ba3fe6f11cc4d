"""Writes the results of an evaluation as `readout.json`, for readers without TFMA.

Only TFMA can read TFMA's files, and it takes more than ten seconds to import: the report of a
cached run would take longer than the run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import tensorflow_model_analysis as tfma
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from ordain.components.artifacts.types import READOUT_FILE
from ordain.components.evaluator.measures import Measures, slice_key, slice_name
from ordain.components.evaluator.thresholds import MATRIX, classes_of, thresholds_of
from ordain.components.examples.reader import split_files

_BASELINE = "baseline"
_PIECE_BYTES = 1 << 20


def write_readout(
    uri: str, config: Any, metrics: Iterable[Any], measures: Measures, fingerprint: str
) -> None:
    """Writes the results of an evaluation as `readout.json`.

    `metrics` lists name, class, slice (`origin=JFK`; empty for the whole window), `value` and
    `baseline`; for undefined values the reason instead, as `undefined` and `baseline_undefined`;
    `threshold` and `baseline_threshold` where the metric depends on one; `trivial` has the values
    of trivial predictors, for the whole window and slices with a threshold. `rows` has the number
    of rows by slice; `fingerprint` is equal for evaluations on the same rows. `matrix` is the
    candidate's confusion matrix of the whole window at its serving threshold, null without one.
    `histograms` lists, by slice and model, the non-empty buckets of the prediction (index, weight,
    weight of label 1, sum of predictions) out of `buckets` of equal width from 0 to 1. `confusion`
    lists actual class, predicted class and weight for the whole window.

    Args:
        uri: Folder of the evaluation.
        config: The `tfma.EvalConfig` that was evaluated.
        metrics: `MetricsForSlice` protos, as `tfma.load_metrics` reads them.
        measures: The same, with undefined values marked.
        fingerprint: Fingerprint of the evaluated rows (`evaluated_rows`).
    """
    readout = {
        "fingerprint": fingerprint,
        "rows": {slice_name(where): found.rows for where, found in measures.rows.items()},
        "metrics": _metrics(measures, config),
        "matrix": _matrix(metrics, config),
        **_plots(tfma.load_plots(uri)),
    }
    with fileio.open(f"{uri}/{READOUT_FILE}", "w") as file:
        file.write(json.dumps(readout))


def folders_of(examples: list[Any], splits: list[str]) -> list[tuple[str, int]]:
    """Folders of the evaluated splits, each with its span."""
    return [
        (artifact_utils.get_split_uri([artifact], split), artifact.span)
        for artifact in examples
        for split in splits
    ]


def evaluated_rows(folders: Iterable[tuple[str, int]], measures: Measures) -> str:
    """Fingerprint of the evaluated rows: equal for the same rows with the same labels.

    Labels are included because the model's own preprocessing makes them.

    Args:
        folders: Folders of the evaluated splits, each with its span.
        measures: The measured values.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for folder, span in sorted(folders, key=lambda entry: entry[1]):
        for path in split_files(folder):
            digest.update(f"{span}\n".encode())
            with fileio.open(path, "rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    digest.update(piece)
    whole = measures.rows.get(())
    digest.update(whole.labels.tobytes() if whole is not None else b"")
    return digest.hexdigest()


def _metrics(measures: Measures, config: Any) -> list[dict[str, Any]]:
    thresholds = thresholds_of(config)
    classes = classes_of(config)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for (name, where, is_baseline), measure in measures.values.items():
        entry = {"slice": slice_name(where), "name": name, "class": classes.get(name, "")}
        both = found.setdefault((slice_name(where), name), entry)
        if measure.value is None:
            both["baseline_undefined" if is_baseline else "undefined"] = measure.undefined
        else:
            both["baseline" if is_baseline else "value"] = measure.value
        if (name, is_baseline) in thresholds:
            key = "baseline_threshold" if is_baseline else "threshold"
            both[key] = thresholds[name, is_baseline]
        known = measures.trivial_so_far if where else measures.trivial
        trivial = known(name, where) if not is_baseline else []
        if trivial:
            both["trivial"] = {each.name: each.value for each in trivial}
    return list(found.values())


def _matrix(measured: Iterable[Any], config: Any) -> dict[str, float] | None:
    for entry in measured:
        for pair in entry.metric_keys_and_values if not slice_key(entry.slice_key) else ():
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
        where = slice_name(slice_key(entry.slice_key))
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
    # The first bucket is below 0, the last is 1 and above: merge them into their neighbours.
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
