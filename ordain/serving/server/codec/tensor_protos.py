"""Converts TensorFlow's tensor messages to arrays and back."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from ordain.serving.server.codec.tensors import BY_TF, Array
from ordain.serving.server.errors import invalid

#: A message may give one value for all elements; limit on the elements made that way.
MAX_REPEATED = 1 << 20
#: Names of TensorFlow's types, as in `DT_FLOAT`, by number.
TYPE_NAMES = {number: name for name, number in types_pb2.DataType.items()}


def decode_proto(proto: tensor_pb2.TensorProto, name: str) -> Array:
    """Decodes one tensor message; `name` is for the error.

    Raises:
        RequestError: It has an unsupported type, or its content does not fit its shape.
    """
    type_name = TYPE_NAMES.get(proto.dtype, "unknown")
    if type_name not in BY_TF:
        raise invalid(f"input {name!r}: type {type_name} is not supported")
    if proto.tensor_shape.unknown_rank or any(dim.size < 0 for dim in proto.tensor_shape.dim):
        raise invalid(f"input {name!r}: unknown shape")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    elements = math.prod(shape)
    values = [value for field, value in proto.ListFields() if field.name.endswith("_val")]
    given = elements if proto.tensor_content else len(values[0]) if values else 0
    if given < elements and (elements > MAX_REPEATED or not given):
        raise invalid(f"input {name!r} has shape {shape} and {given} elements")
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
