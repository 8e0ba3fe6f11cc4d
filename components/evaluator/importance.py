"""Which features a model leans on: permutation importance on a sample of the eval split.

A feature's raw values are shuffled among the sampled rows, the model predicts again, and what its
score loses is the feature's importance (Breiman, Random Forests, 2001; Fisher, Rudin and Dominici,
2019, for any model). Features that carry the same information share theirs: shuffling one of them
alone costs little.
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
#: The signature that hands back the label as the model was trained on it.
TRANSFORM_FEATURES = "transform_features"
#: Rows that are predicted again for every feature and shuffle.
SAMPLE_ROWS = 1500
SHUFFLES = 3
#: Features that are shuffled; a model of thousands would hold up the run.
MAX_FEATURES = 100
_SEED = 1

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureImportance:
    """What shuffling one feature cost.

    Attributes:
        name: The raw feature.
        losses: How much worse the score was, once for each shuffle; below 0 if it was better.
    """

    name: str
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Importance:
    """Importance of the features, and the sample it was measured on.

    Attributes:
        measure: `auc`, `accuracy` or `rmse` (root mean squared error).
        score: The model's score on the sample.
        rows: Rows of the sample.
        of_rows: Rows of the split.
        features: Most important first.
        left_out: Features that were not shuffled because there are too many.
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
    """Measures the importance of a model's features and keeps it in an evaluation artifact.

    A model for which it cannot be measured leaves a line in the log and no file: nothing is
    decided by it.

    Args:
        uri: Folder of the evaluation.
        loaded: The SavedModel, loaded.
        examples: Examples artifacts, one for each span.
        splits: Splits that the model was evaluated on.
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
        Serialized tf.Examples, about `SAMPLE_ROWS` of them, and the number of rows there are.
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
        rows: Serialized tf.Examples of raw columns, the label among them.
        of_rows: Rows that the sample stands for.
        schema: Schema of the rows.
        label: Name of the label.

    Raises:
        ValueError: The model's prediction is not one array, or the score says nothing.
    """
    predict = loaded.signatures[SERVING_TF_EXAMPLE]
    batch = example_coder.ExamplesToRecordBatchDecoder(schema.SerializeToString()).DecodeBatch(
        list(rows)
    )
    encoder = example_coder.RecordBatchToExamplesEncoder(schema)
    labels = _labels(loaded, rows, batch, label)

    def answer(serialized: Sequence[bytes]) -> Any:
        outputs = predict(**{EXAMPLES_INPUT: tf.constant(list(serialized), tf.string)})
        if len(outputs) != 1:
            raise ValueError(f"the model has {len(outputs)} outputs: {', '.join(sorted(outputs))}")
        (values,) = (tensor.numpy() for tensor in outputs.values())
        return values.reshape(len(serialized), -1)

    predictions = answer(rows)
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
            value = score(labels, answer(encoder.encode(shuffled)))
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
    """Labels as numbers, `[rows] float64`: as the model was trained on them, if it can tell."""
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
    """The score's name, the score, and whether more of it is better."""
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
