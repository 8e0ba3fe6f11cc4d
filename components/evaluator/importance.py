"""Permutation importance of the raw features, on a sample of the eval split.

A feature's raw values are shuffled among the sampled rows, the model predicts again, and the loss
in its score is the feature's importance (Breiman, Random Forests, 2001; Fisher, Rudin and Dominici,
2019, for any model). Features with the same information share it: shuffling one of them alone
costs little.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx_bsl.coders import example_coder

from ordain.components.examples.example_gen import read_rows
from ordain.components.examples.reader import read_records, split_files
from ordain.serving.export.description import EXAMPLES_INPUT, SERVING_TF_EXAMPLE

#: File in the evaluation artifact.
IMPORTANCE_FILE = "importance.json"
#: The signature that returns the label as the model was trained on it.
TRANSFORM_FEATURES = "transform_features"
#: Rows that are predicted again for every feature and shuffle.
SAMPLE_ROWS = 1500
SHUFFLES = 3
#: Most features that are shuffled; a model of thousands would delay the run.
MAX_FEATURES = 100
_SEED = 1

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureImportance:
    """Loss in score from shuffling one feature.

    Attributes:
        name: The raw feature.
        losses: Loss for each shuffle; below 0 if the score improved.
    """

    name: str
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Importance:
    """Importance of the features, and the sample.

    Attributes:
        measure: `auc`, `accuracy` or `rmse` (root mean squared error).
        score: The model's score on the sample.
        rows: Rows of the sample.
        of_rows: Rows of the splits.
        features: Most important first.
        left_out: Number of features beyond `MAX_FEATURES`, not shuffled.
        labels: Labels of the sample, `[rows]`.
        predictions: Predictions of the sample, `[rows]`; empty for several classes.
    """

    measure: str
    score: float
    rows: int
    of_rows: int
    features: tuple[FeatureImportance, ...]
    left_out: int
    labels: tuple[float, ...]
    predictions: tuple[float, ...]


def write_importance(
    uri: str,
    loaded: Any,
    examples: Sequence[Any],
    splits: Sequence[str],
    schema: schema_pb2.Schema,
    label: str,
) -> None:
    """Measures the importance of a model's features and writes it into an evaluation artifact.

    If that fails, a warning is logged and no file is written; no gate depends on it.

    Args:
        uri: Folder of the evaluation.
        loaded: The SavedModel, loaded.
        examples: Examples artifacts, one for each span.
        splits: Evaluated splits.
        schema: Schema of the examples.
        label: Name of the label.
    """
    try:
        rows, total = sample_rows(examples, splits)
        importance = measure(loaded, rows, total, schema, label)
        with fileio.open(f"{uri}/{IMPORTANCE_FILE}", "w") as file:
            file.write(json.dumps(asdict(importance)))
    except Exception as error:
        _LOG.warning("no feature importance: %s: %s", type(error).__name__, error)


def sample_rows(examples: Iterable[Any], splits: Sequence[str]) -> tuple[list[bytes], int]:
    """Every n-th row of the splits of all spans.

    Args:
        examples: Examples artifacts.
        splits: Names of splits.

    Returns:
        About `SAMPLE_ROWS` serialized tf.Examples, and the total number of rows.
    """
    files: list[str] = []
    total = 0
    for artifact in sorted(examples, key=lambda artifact: artifact.span):
        counted = read_rows(artifact).get("splits", {})
        for split in splits:
            total += int(counted.get(split, 0))
            files += split_files(artifact_utils.get_split_uri([artifact], split))
    records = read_records(files)
    step = max(1, total // SAMPLE_ROWS)
    rows = list(records.shard(step, 0).take(2 * SAMPLE_ROWS).as_numpy_iterator())
    return rows, max(total, len(rows))


def measure(
    loaded: Any, rows: Sequence[bytes], of_rows: int, schema: schema_pb2.Schema, label: str
) -> Importance:
    """Measures the importance of each raw feature.

    Args:
        loaded: The SavedModel, loaded.
        rows: Serialized tf.Examples of raw columns, including the label.
        of_rows: Number of rows that were sampled from.
        schema: Schema of the rows.
        label: Name of the label.

    Raises:
        ValueError: The model has several outputs, or the score is not finite.
    """
    predict = loaded.signatures[SERVING_TF_EXAMPLE]
    batch = example_coder.ExamplesToRecordBatchDecoder(schema.SerializeToString()).DecodeBatch(
        list(rows)
    )
    encoder = example_coder.RecordBatchToExamplesEncoder(schema)
    labels = _labels(loaded, rows, batch, label)

    def predictions_of(serialized: Sequence[bytes]) -> Any:
        outputs = predict(**{EXAMPLES_INPUT: tf.constant(list(serialized), tf.string)})
        if len(outputs) != 1:
            raise ValueError(f"the model has {len(outputs)} outputs: {', '.join(sorted(outputs))}")
        (values,) = (tensor.numpy() for tensor in outputs.values())
        return values.reshape(len(serialized), -1)

    predictions = predictions_of(rows)
    name, score, is_better_higher = _choose_score(labels, predictions)
    best = score(labels, predictions)
    if not np.isfinite(best):
        raise ValueError(f"{name} of the sample is {best}")
    features = [column for column in batch.schema.names if column != label]
    generator = np.random.default_rng(_SEED)
    found = []
    for feature in features[:MAX_FEATURES]:
        losses = []
        for _ in range(SHUFFLES):
            shuffled = _shuffle(batch, feature, generator)
            value = score(labels, predictions_of(encoder.encode(shuffled)))
            losses.append(float(best - value if is_better_higher else value - best))
        found.append(FeatureImportance(feature, tuple(losses)))
    found.sort(key=lambda feature: -float(np.mean(feature.losses)))
    is_single = predictions.shape[1] == 1
    return Importance(
        measure=name,
        score=float(best),
        rows=len(rows),
        of_rows=of_rows,
        features=tuple(found),
        left_out=max(0, len(features) - MAX_FEATURES),
        labels=tuple(map(float, labels)),
        predictions=tuple(map(float, predictions[:, 0])) if is_single else (),
    )


def _labels(loaded: Any, rows: Sequence[bytes], batch: pa.RecordBatch, label: str) -> Any:
    """Labels `[rows] float64`, transformed as for training if the model has the signature."""
    transform = loaded.signatures.get(TRANSFORM_FEATURES)
    if transform is not None and label in transform.structured_outputs:
        outputs = transform(**{EXAMPLES_INPUT: tf.constant(list(rows), tf.string)})
        return outputs[label].numpy().reshape(len(rows)).astype(np.float64)
    values = batch.column(batch.schema.names.index(label)).flatten()
    return np.asarray(values, np.float64).reshape(len(rows))


def _shuffle(batch: pa.RecordBatch, feature: str, generator: np.random.Generator) -> pa.RecordBatch:
    order = pa.array(generator.permutation(batch.num_rows))
    columns = [
        column.take(order) if name == feature else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _choose_score(labels: Any, predictions: Any) -> tuple[str, Callable[[Any, Any], float], bool]:
    """Name and function of the score, and True if higher is better."""
    if predictions.shape[1] > 1:
        return "accuracy", _accuracy, True
    is_share = predictions.min() >= 0 and predictions.max() <= 1
    if is_share and set(np.unique(labels)) == {0.0, 1.0}:
        return "auc", auc, True
    return "rmse", _rmse, False


def auc(labels: Any, predictions: Any) -> float:
    """Area under the ROC curve, as the Mann-Whitney statistic; ties count half.

    Args:
        labels: `[rows]`, 0 or 1.
        predictions: `[rows, 1]`.
    """
    scores = predictions[:, 0]
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    del values
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = labels == 1
    count = int(positives.sum())
    others = len(labels) - count
    return float((ranks[positives].sum() - count * (count + 1) / 2) / (count * others))


def _accuracy(labels: Any, predictions: Any) -> float:
    return float(np.mean(predictions.argmax(axis=1) == labels))


def _rmse(labels: Any, predictions: Any) -> float:
    return float(np.sqrt(np.mean((predictions[:, 0] - labels) ** 2)))
