"""Golden requests: real rows, the expected outputs, and their distance to a server's response.

The expected outputs are those of `serving_tf_example`, the signature that the evaluation uses,
called directly. A server gets the same rows as JSON and as tensors.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ordain.serving.export.description import (
    EXAMPLES_INPUT,
    SERVING_DEFAULT,
    SERVING_TF_EXAMPLE,
    Description,
)
from ordain.serving.sandbox.sandbox import Request

GOLDEN_FILE = "golden.json"
Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Golden:
    """Rows and their expected outputs.

    Attributes:
        examples: Serialized tf.Examples of raw columns.
        instances: The same rows as `serving_default` takes them in JSON; empty for a model whose
            inputs are not described.
        expected: Outputs by name, `[rows, ...]`.
    """

    examples: tuple[bytes, ...]
    instances: tuple[dict[str, Any], ...]
    expected: Arrays

    def write(self, folder: Path) -> None:
        """Writes it to a folder, which is created."""
        raw = {
            "examples": [base64.b64encode(example).decode() for example in self.examples],
            "instances": self.instances,
            "expected": {name: _listed(array) for name, array in self.expected.items()},
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / GOLDEN_FILE).write_text(json.dumps(raw), encoding="utf-8")


def predict(model: str | Path, examples: Sequence[bytes]) -> dict[str, np.ndarray[Any, Any]]:
    """Outputs of a model called directly, through the signature that the evaluation uses.

    Args:
        model: Folder of the SavedModel, scanned before.
        examples: Serialized tf.Examples.
    """
    import tensorflow as tf  # noqa: PLC0415

    loaded = tf.saved_model.load(str(model))
    rows = tf.constant(list(examples), tf.string)
    outputs = loaded.signatures[SERVING_TF_EXAMPLE](**{EXAMPLES_INPUT: rows})
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def make_requests(
    description: Description | None, examples: Sequence[bytes]
) -> tuple[list[dict[str, Any]], list[Request]]:
    """Makes the rows as JSON, and all requests to a server.

    Each row alone and all rows at once, through REST and gRPC: as named columns, if the model
    describes them, and all rows as serialized tf.Examples too.
    """
    from ordain.serving.export.samples import (  # noqa: PLC0415
        predict_request,
        to_instance,
        to_tensors,
    )

    every = len(examples)
    # Each row alone, then all at once.
    groups = [(i, i + 1) for i in range(every)] + ([(0, every)] if every > 1 else [])
    if description is None:
        texts = [{EXAMPLES_INPUT: {"b64": base64.b64encode(e).decode()}} for e in examples]
        by_json = [_rest(SERVING_TF_EXAMPLE, texts[a:b], a) for a, b in groups]
        named = [(a, b, SERVING_TF_EXAMPLE) for a, b in groups]
        instances: list[dict[str, Any]] = []
    else:
        instances = [to_instance(description, example) for example in examples]
        # Rows with lists of different lengths are not a tensor: TensorFlow Serving refuses them.
        even = [(a, b) for a, b in groups if _is_even(instances[a:b])]
        by_json = [_rest(SERVING_DEFAULT, instances[a:b], a) for a, b in even]
        named = [(a, b, SERVING_DEFAULT) for a, b in groups]
        named.append((0, every, SERVING_TF_EXAMPLE))
    by_tensor = []
    for a, b, signature in named:
        inputs: Arrays = {EXAMPLES_INPUT: _objects_of(list(examples[a:b]))}
        if description is not None and signature == SERVING_DEFAULT:
            inputs = to_tensors(description, instances[a:b])
        request = predict_request(signature, inputs)
        request.model_spec.name = "candidate"
        by_tensor.append(Request("grpc", request.SerializeToString(), a, b - a))
    return instances, by_json + by_tensor


def _is_even(instances: Sequence[dict[str, Any]]) -> bool:
    lengths = [
        tuple(len(v) if isinstance(v, list) else -1 for v in instance.values())
        for instance in instances
    ]
    return len(set(lengths)) <= 1


def _rest(signature: str, instances: Sequence[dict[str, Any]], first: int) -> Request:
    body = json.dumps({"signature_name": signature, "instances": list(instances)})
    return Request("rest", body.encode(), first, len(instances))


def read_response(request: Request, body: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Decodes the outputs of a response by name; a single unnamed output has an empty name.

    Raises:
        ValueError: The body is not a valid response.
    """
    if request.protocol == "rest":
        raw = json.loads(body)
        if not isinstance(raw, dict) or not isinstance(raw.get("predictions"), list):
            raise ValueError("has no 'predictions'")
        found = raw["predictions"]
        if found and isinstance(found[0], dict) and set(found[0]) != {"b64"}:
            return {name: _as_array([row[name] for row in found]) for name in found[0]}
        return {"": _as_array(found)}
    import tensorflow as tf  # noqa: PLC0415
    from tensorflow_serving.apis import predict_pb2  # noqa: PLC0415

    response = predict_pb2.PredictResponse.FromString(body)
    return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


def distance(expected: Arrays, found: Arrays) -> float:
    """Distance of a response from the expected outputs.

    Args:
        expected: Outputs by name, `[rows, ...]`.
        found: Outputs of the response; a single one may have an empty name.

    Returns:
        The largest difference of two numbers, divided by the expected one where that is above 1;
        0 for two NaN. Infinite for another shape, another output or another text.
    """
    if set(found) == {""} and len(expected) == 1:
        found = {next(iter(expected)): found[""]}
    if set(found) != set(expected):
        return math.inf
    return max((_distance(expected[name], found[name]) for name in expected), default=0.0)


def _distance(expected: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> float:
    if expected.shape != found.shape:
        return math.inf
    if expected.dtype.kind in "OSU" or found.dtype.kind in "OSU":
        texts = [[_text(v) for v in array.reshape(-1)] for array in (expected, found)]
        return 0.0 if texts[0] == texts[1] else math.inf
    one, other = expected.astype(np.float64), found.astype(np.float64)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        apart = np.abs(one - other) / np.maximum(np.abs(one), 1.0)
    apart = np.where(same, 0.0, np.where(np.isfinite(apart), apart, math.inf))
    return float(apart.max(initial=0.0))


def _text(value: Any) -> bytes:
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return value if isinstance(value, bytes) else str(value).encode()


def _listed(array: np.ndarray[Any, Any]) -> Any:
    if array.dtype.kind in "OSU":
        texts = [{"b64": base64.b64encode(_text(v)).decode()} for v in array.reshape(-1)]
        return _objects_of(texts).reshape(array.shape).tolist()
    return array.tolist()


def _as_array(values: Any) -> np.ndarray[Any, Any]:
    """Numbers as numeric arrays; anything else, such as strings, as object arrays."""
    array = np.array(values)
    return array if array.dtype.kind in "fiub" else np.array(values, object)


def _objects_of(values: list[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), object)
    array[:] = values
    return array
