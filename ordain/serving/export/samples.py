"""Writes real rows into an exported model: warm-up requests and an example request.

TensorFlow Serving runs the requests in `assets.extra/tf_serving_warmup_requests` before it accepts
traffic, so that the first request does not pay for a graph's first call.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ordain.errors import InfrastructureError
from ordain.serving.export.description import (
    EXAMPLE_FILE,
    EXAMPLES_INPUT,
    SERVING_DEFAULT,
    SERVING_TF_EXAMPLE,
    WARMUP_FILE,
    Description,
    Feature,
    read_description,
)

#: Rows in a warm-up request: one, as from a page, and many, as from a batch job. TensorFlow may
#: optimize a graph differently for the two.
WARMUP_BATCHES = (1, 32)
#: Rows in the example.
EXAMPLE_ROWS = 2


def write_samples(folder: str | Path, rows: Sequence[bytes]) -> bool:
    """Writes warm-up requests and an example into an exported model.

    Args:
        folder: The SavedModel.
        rows: Serialized tf.Examples of raw columns; the label is ignored.

    Returns:
        Whether they were written; False without rows, and for a model that `export_model` did not
        write.
    """
    description = read_description(folder)
    if description is None or not rows:
        return False
    instances = [to_instance(description, row) for row in rows]
    # Rows with fewer missing values make better examples.
    complete = sorted(instances, key=lambda instance: _missing(description, instance))
    example = {"signature_name": SERVING_DEFAULT, "instances": complete[:EXAMPLE_ROWS]}
    try:
        path = Path(folder, EXAMPLE_FILE)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(example, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        with tf.io.TFRecordWriter(str(Path(folder, WARMUP_FILE))) as writer:
            for size in WARMUP_BATCHES:
                for log in _warmup(description, instances[:size], rows[:size]):
                    writer.write(log)
    except (OSError, tf.errors.OpError) as error:
        raise InfrastructureError(f"{folder}: cannot write the sample requests: {error}") from (
            error
        )
    return True


def to_instance(description: Description, row: bytes) -> dict[str, Any]:
    """Converts a row to JSON for `serving_default`: a value or a list for each input.

    Args:
        description: The model's description.
        row: A serialized tf.Example.
    """
    found = tf.train.Example.FromString(row).features.feature
    return {f.name: _value(f, found.get(f.name)) for f in description.features}


def to_tensors(
    description: Description, instances: Sequence[dict[str, Any]]
) -> dict[str, np.ndarray[Any, Any]]:
    """Converts rows of JSON to the inputs of `serving_default`.

    Returns:
        `[batch]` or `[batch, n]` arrays by input; shorter rows are padded with missing values.
    """
    tensors = {}
    for feature in description.features:
        values = [_plain(instance[feature.name]) for instance in instances]
        if feature.shape == (None, None):
            longest = max(map(len, values), default=0)
            values = [value + [feature.missing] * (longest - len(value)) for value in values]
        dtype = object if feature.dtype == "string" else feature.dtype
        shape = (len(values), *(s or -1 for s in feature.shape[1:]))
        tensors[feature.name] = np.array(values, dtype).reshape(shape if values else (0,))
    return tensors


def predict_request(signature: str, inputs: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    """Makes a `PredictRequest` of TensorFlow Serving, without a model's name."""
    from tensorflow_serving.apis import predict_pb2  # noqa: PLC0415  slow to import

    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        dtype = tf.string if array.dtype == object else None
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array, dtype))
    return request


def _plain(value: Any) -> Any:
    """Converts strings and base64 objects to bytes, lists item by item."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return value.encode() if isinstance(value, str) else value


def _value(feature: Feature, found: Any) -> Any:
    kind = found.WhichOneof("kind") if found is not None else None
    values = [_json(v) for v in getattr(found, kind).value] if kind else []
    if len(feature.shape) > 1:
        return values
    return values[0] if values else feature.missing


def _json(value: Any) -> Any:
    """A value in JSON: a string if bytes are UTF-8, otherwise base64."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _missing(description: Description, instance: dict[str, Any]) -> int:
    """Number of inputs without a value."""
    return sum(
        value in ([], f.missing) or (isinstance(value, float) and math.isnan(value))
        for f in description.features
        for value in (instance[f.name],)
    )


def _warmup(
    description: Description, instances: Sequence[dict[str, Any]], rows: Sequence[bytes]
) -> list[bytes]:
    """Serialized `PredictionLog`s of one batch, for each signature that predicts."""
    from tensorflow_serving.apis import prediction_log_pb2  # noqa: PLC0415  slow to import

    inputs: dict[str, dict[str, Any]] = {
        SERVING_DEFAULT: to_tensors(description, instances),
        SERVING_TF_EXAMPLE: {EXAMPLES_INPUT: np.array(rows, object)},
    }
    logs = []
    for signature, tensors in inputs.items():
        request = predict_request(signature, tensors)
        predict = prediction_log_pb2.PredictLog(request=request)
        logs.append(prediction_log_pb2.PredictionLog(predict_log=predict).SerializeToString())
    return logs
