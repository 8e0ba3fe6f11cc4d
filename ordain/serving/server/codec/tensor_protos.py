"""Converts TensorFlow's tensor messages to arrays and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from ordain.serving.server.codec.tensors import BY_TF, Array, Arrays
from ordain.serving.server.errors import invalid

#: A message may give one value for all elements; limit on the elements made that way.
MAX_REPEATED = 1 << 20


def decode_inputs(inputs: Mapping[str, tensor_pb2.TensorProto]) -> Arrays:
    """Decodes the tensors of a request into arrays by name.

    Raises:
        RequestError: A tensor has an unsupported type, or its content does not fit its shape.
    """
    return {name: decode_proto(proto, name) for name, proto in inputs.items()}


def decode_proto(proto: tensor_pb2.TensorProto, name: str) -> Array:
    """Decodes one tensor message; `name` is for the error.

    Raises:
        RequestError: As `decode_inputs`.
    """
    type_name = types_pb2.DataType.Name(proto.dtype) if proto.dtype in _KNOWN else "unknown"
    if type_name not in BY_TF:
        raise invalid(f"input {name!r}: type {type_name} is not supported")
    if proto.tensor_shape.unknown_rank or any(dim.size < 0 for dim in proto.tensor_shape.dim):
        raise invalid(f"input {name!r}: unknown shape")
    elements = 1
    for dim in proto.tensor_shape.dim:
        elements *= dim.size
    given = elements if proto.tensor_content else _count_values(proto)
    if given < elements and (elements > MAX_REPEATED or not given):
        raise invalid(f"input {name!r} has shape {_shape(proto)} and {given} elements")
    try:
        array = np.asarray(tf.make_ndarray(proto))
    except (TypeError, ValueError) as error:
        raise invalid(f"input {name!r}: {error}") from None
    if array.dtype.kind in "SU":
        array = array.astype(object)
    return array


def encode_proto(array: Array) -> tensor_pb2.TensorProto:
    """Encodes an output as a tensor message."""
    return tf.make_tensor_proto(array, shape=array.shape)


_KNOWN = frozenset(types_pb2.DataType.values())


def _count_values(proto: tensor_pb2.TensorProto) -> int:
    values = [value for field, value in proto.ListFields() if field.name.endswith("_val")]
    return len(values[0]) if values else 0


def _shape(proto: tensor_pb2.TensorProto) -> list[Any]:
    return [dim.size for dim in proto.tensor_shape.dim]
