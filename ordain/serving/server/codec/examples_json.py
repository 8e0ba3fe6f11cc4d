"""Classify and regress requests of TensorFlow Serving: `examples` with a shared `context`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ordain.serving.server.codec.json_values import decode_base64, encode_tensor, is_base64
from ordain.serving.server.codec.tensors import Arrays, Signature, strings
from ordain.serving.server.errors import Code, RequestError, invalid
from ordain.serving.server.rest.json_text import quote

#: Method names of signatures that were exported for `classify` and `regress`.
_METHODS = "tensorflow/serving/"


def decode_examples(document: Mapping[str, Any], method: str) -> list[bytes]:
    """Decodes the serialized tf.Examples of a classify or regress request, merged with the context.

    Raises:
        RequestError: The request violates the REST API.
    """
    if "examples" not in document:
        raise invalid(f"When method is {method}, key 'examples' is expected and was not found")
    examples = document["examples"]
    if not isinstance(examples, list):
        raise invalid("Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid("'examples' value is an empty array")
    context = _make_example(document["context"]) if "context" in document else None
    return [merge(_make_example(raw), context) for raw in examples]


def merge(example: tf.train.Example, context: tf.train.Example | None) -> bytes:
    """Serializes an example with the features of the context; its own features win."""
    if context is not None:
        for name, feature in context.features.feature.items():
            if name not in example.features.feature:
                example.features.feature[name].CopyFrom(feature)
    return bytes(example.SerializeToString())


def examples_input(signature: Signature, method: str, examples: list[bytes]) -> Arrays:
    """Makes the single input of a classify or regress signature.

    Args:
        signature: The requested signature.
        method: `classify` or `regress`.
        examples: Serialized tf.Examples.

    Raises:
        RequestError: The signature was exported for another method, as in TensorFlow Serving, or
            does not take serialized tf.Examples.
    """
    wanted = _METHODS + method
    if signature.method != wanted:
        raise invalid(
            f"Expected {method} signature method_name to be {wanted}. Was: {signature.method}; "
            "this model answers :predict"
        )
    if len(signature.inputs) != 1 or not next(iter(signature.inputs.values())).type.is_string:
        raise RequestError(
            Code.FAILED_PRECONDITION,
            f"signature {signature.name!r} does not take serialized tf.Examples",
        )
    return {next(iter(signature.inputs)): strings(examples)}


def classes_of(outputs: Arrays) -> list[list[tuple[str, float]]]:
    """Label and score of each class, for each example.

    Raises:
        RequestError: The outputs lack classes and scores of shape `[examples, classes]`.
    """
    classes, scores = outputs.get("classes"), outputs.get("scores")
    shape = classes if classes is not None else scores if scores is not None else None
    if shape is None or shape.ndim != 2:
        raise RequestError(
            Code.INVALID_ARGUMENT, "the model returned neither 'classes' nor 'scores' per example"
        )
    labels = np.full(shape.shape, b"", object) if classes is None else classes
    texts = [[item.decode("utf-8", "replace") for item in row] for row in labels]
    values = encode_tensor(np.zeros(shape.shape) if scores is None else scores, "scores")
    return [list(zip(ts, vs, strict=True)) for ts, vs in zip(texts, values, strict=True)]


def values_of(outputs: Arrays) -> list[float]:
    """The regression value of each example.

    Raises:
        RequestError: The outputs do not hold one value per example.
    """
    found = outputs.get("outputs")
    if found is None or found.size != found.shape[0]:
        raise RequestError(
            Code.INVALID_ARGUMENT, "the model did not return one value in 'outputs' per example"
        )
    values: list[float] = encode_tensor(found.reshape(-1), "outputs")
    return values


def _make_example(raw: Any) -> tf.train.Example:
    if not isinstance(raw, dict):
        raise invalid(f"Example must be JSON object but got JSON {quote(raw)}")
    example = tf.train.Example()
    for name, content in raw.items():
        values = content if isinstance(content, list) else [content]
        try:
            _fill(example.features.feature[name], values, name)
        except (ValueError, UnicodeEncodeError, TypeError) as error:
            raise invalid(f"Feature: {quote(name)} is invalid: {error}") from None
    return example


def _fill(feature: tf.train.Feature, values: list[Any], name: str) -> None:
    item: Any
    for value in values:
        if isinstance(value, int):  # true and false are 1 and 0
            kind, item = "int64_list", int(value)
        elif isinstance(value, float):
            kind, item = "float_list", value
        elif isinstance(value, str):
            kind, item = "bytes_list", value.encode("utf-8")
        elif is_base64(value):
            kind, item = "bytes_list", decode_base64(value["b64"])
        else:
            raise invalid(f"Feature: {name} has element with unexpected JSON type: {quote(value)}")
        if feature.WhichOneof("kind") not in (None, kind):
            raise invalid(f"Unexpected element type in feature: {name} expecting one type")
        getattr(feature, kind).value.append(item)
