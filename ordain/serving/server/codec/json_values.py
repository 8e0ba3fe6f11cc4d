"""Converts JSON values to arrays and back, by the rules of TensorFlow Serving's REST API.

Types are strict: an integer input takes neither `1.0` nor `"1"`, a float input takes integers that
it can represent exactly. Bytes are `{"b64": "..."}`, and lists must be rectangular.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import math
from typing import Any

import numpy as np

from ordain.serving.server.codec.tensors import MAX_RANK, Array, ElementType, strings
from ordain.serving.server.errors import invalid
from ordain.serving.server.rest.json_text import quote

B64 = "b64"
#: Outputs whose name ends like this hold bytes, and are returned as base64.
BYTES_SUFFIX = "_bytes"


def is_base64(value: Any) -> bool:
    """True if a JSON value encodes bytes: an object with only a `b64` string."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(B64), str)


def decode_tensor(value: Any, kind: ElementType) -> Array:
    """Decodes a JSON scalar or rectangular nested lists into an array.

    Raises:
        RequestError: The lists are ragged, or an element has another type or does not fit.
    """
    shape: list[int] = []
    probe = value
    while isinstance(probe, list) and len(shape) < MAX_RANK:
        shape.append(len(probe))
        if not probe:
            break
        probe = probe[0]
    flat = value if shape else [value]
    for level, size in enumerate(shape[1:], start=1):
        for inner in flat:
            if not isinstance(inner, list):
                raise invalid(
                    f"JSON Value: {quote(inner)} found at incorrect level: {level + 1} "
                    f"in the JSON DOM. Expected at level: {len(shape)}"
                )
            if len(inner) != size:
                raise invalid(
                    f"Encountered list at unexpected size: {len(inner)} at level: {level} "
                    f"expected size: {size}"
                )
        flat = list(itertools.chain.from_iterable(flat))
    return _decode_elements(flat, kind).reshape(shape)


def _decode_elements(values: list[Any], kind: ElementType) -> Array:
    if kind.is_string:
        return strings([_decode_bytes(value, kind) for value in values])
    family = kind.numpy.kind
    allowed: tuple[type, ...] = {"b": (bool,), "f": (float, int)}.get(family, (int,))
    if not set(map(type, values)) <= set(allowed):
        wrong = next(value for value in values if type(value) not in allowed)
        if isinstance(wrong, list):
            raise invalid(f"Encountered list at unexpected level: {quote(wrong)}")
        raise _type_error(wrong, kind)
    if family == "f":
        return _decode_floats(values, kind)
    try:
        return np.array(values, dtype=kind.numpy)
    except OverflowError:
        limits = np.iinfo(kind.numpy)
        wrong = next(v for v in values if not limits.min <= v <= limits.max)
        raise _type_error(wrong, kind) from None


def encode_tensor(array: Array, name: str) -> Any:
    """Encodes an output as nested lists, or a scalar."""
    if array.dtype == object:
        as_bytes = name.endswith(BYTES_SUFFIX)
        flat: list[Any] = [_encode_bytes(item, as_bytes) for item in array.ravel()]
        return _nest(flat, array.shape)
    if array.dtype.kind == "f" and array.dtype != np.float64:
        # Via the shortest text that reads as the same float32, as TensorFlow Serving writes it:
        # 0.1 instead of 0.10000000149011612.
        flat = [float(text) for text in array.ravel().astype(str)]
        return _nest(flat, array.shape)
    return array.tolist()


def _nest(flat: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    for size in reversed(shape[1:]):
        if size == 0:
            return np.empty(shape).tolist()
        flat = [flat[i : i + size] for i in range(0, len(flat), size)]
    return flat


def _decode_floats(values: list[Any], kind: ElementType) -> Array:
    limit = 1 << (np.finfo(kind.numpy).nmant + 1)
    if int in set(map(type, values)):
        wrong_int = next((v for v in values if isinstance(v, int) and abs(v) > limit), None)
        if wrong_int is not None:
            raise invalid(_lossy(wrong_int, kind))
    array = np.array(values, dtype=np.float64)
    if kind.numpy == np.float64:
        return array
    with np.errstate(over="ignore"):
        narrow = array.astype(kind.numpy)
    if np.isinf(narrow).any():
        wrong = next(
            (v for v, n in zip(values, narrow, strict=True) if np.isinf(n) and not math.isinf(v)),
            None,
        )
        if wrong is not None:
            raise invalid(_lossy(wrong, kind))
    return narrow


def _lossy(value: Any, kind: ElementType) -> str:
    target = kind.tf.removeprefix("DT_").lower()
    return f"Cannot convert JSON value: {quote(value)} to {target} without loss of precision."


def _decode_bytes(value: Any, kind: ElementType) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError:
            raise invalid(f"JSON Value: {quote(value)} holds an unpaired surrogate") from None
    if isinstance(value, list):
        raise invalid(f"Encountered list at unexpected level: {quote(value)}")
    if not isinstance(value, dict):
        raise _type_error(value, kind)
    if not is_base64(value):
        raise invalid(f"JSON Value: {quote(value)} not formatted correctly for base64 data")
    return decode_base64(value[B64])


def decode_base64(text: str) -> bytes:
    """Decodes base64 of the standard or the URL-safe alphabet.

    Raises:
        RequestError: The text is not base64.
    """
    try:
        plain = text.encode("ascii").translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise invalid("Unable to base64 decode") from None


def _encode_bytes(item: Any, as_bytes: bool) -> Any:
    data = item if isinstance(item, bytes) else bytes(item)
    if not as_bytes:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            pass  # not representable as a JSON string
    return {B64: base64.b64encode(data).decode("ascii")}


def _type_error(value: Any, kind: ElementType) -> Exception:
    names: dict[type, str] = {
        bool: "Boolean",
        int: "Number",
        float: "Number",
        str: "String",
        dict: "Object",
        list: "Array",
        type(None): "Null",
    }
    return invalid(
        f"JSON Value: {quote(value)} Type: {names[type(value)]} "
        f"is not of expected type: {kind.tf.removeprefix('DT_').lower()}"
    )
