"""What an evaluation measured, as JSON beside TFMA's files: for readers without TFMA.

TFMA's files can be read by TFMA only, which takes ten seconds and more to import. A report of a
run in which nothing was new would take longer than the run.
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
from ordain.components.evaluator import tfma_internals as inside
from ordain.components.evaluator.measures import Measures, slice_key, slice_name
from ordain.components.evaluator.thresholds import MATRIX, class_of, thresholds_of
from ordain.components.examples.reader import split_files

_BASELINE = "baseline"
_PIECE_BYTES = 1 << 20


def write_readout(
    uri: str, config: Any, metrics: Iterable[Any], measures: Measures, fingerprint: str
) -> None:
    """Writes what an evaluation measured as `readout.json`.

    `metrics` lists name, class, slice (`origin=JFK`; empty for the whole), value, and the
    baseline's value; in the place of a value that is undefined stands why, as `undefined` and
    `baseline_undefined`; `threshold` and `baseline_threshold` where the metric depends on one;
    `trivial` has what trivial predictors reach, of the whole window and of slices that a threshold
    limits. `rows` has the number of rows by slice, and `fingerprint` tells evaluations on the same
    rows. `matrix` is the candidate's confusion matrix of the whole window at the threshold that it
    serves with, null where it names none. `histograms` lists, by slice and model, the buckets of
    the prediction that hold examples: index, weight, weight of label 1, sum of predictions;
    `buckets` of equal width from 0 to 1. `confusion` lists actual class, predicted class and
    weight for the whole window.

    Args:
        uri: Folder of the evaluation.
        config: The `tfma.EvalConfig` that was evaluated.
        metrics: `MetricsForSlice` protos, as `tfma.load_metrics` reads them.
        measures: The same, with undefined values set apart.
        fingerprint: Of the rows that were evaluated (`evaluated_rows`).
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
    """Folders of the splits that are evaluated, each with its span."""
    return [
        (artifact_utils.get_split_uri([artifact], split), artifact.span)
        for artifact in examples
        for split in splits
    ]


def evaluated_rows(folders: Iterable[tuple[str, int]], measures: Measures) -> str:
    """Fingerprint of what metrics were computed on: equal for the same rows with the same labels.

    Labels count beside the files: they are what the model's own preprocessing makes of the rows.

    Args:
        folders: Folders of the evaluated splits, each with its span.
        measures: What was measured on them.

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
    classes = {
        inside.name_of(metric): class_of(metric)
        for spec in config.metrics_specs
        for metric in spec.metrics
    }
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for (name, where, is_baseline), measure in measures.values.items():
        told = {"slice": slice_name(where), "name": name, "class": classes.get(name, "")}
        both = found.setdefault((slice_name(where), name), told)
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
