"""Converts columns of a table to a signature's inputs, and its outputs to columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ordain.errors import DataBlockedError
from ordain.serving.server.codec.tensors import Array, Arrays, Signature, TensorSpec


def to_inputs(batch: pa.RecordBatch, signature: Signature) -> Arrays:
    """Converts the columns of a signature's inputs; other columns are ignored.

    Raises:
        DataBlockedError: A column is missing, has another type, or lacks a required value.
    """
    inputs: Arrays = {}
    for name, spec in signature.inputs.items():
        if name in batch.schema.names:
            inputs[name] = _to_array(batch.column(name), spec)
        elif spec.default is None:
            raise DataBlockedError(
                f"the rows have no column {name!r}, an input of signature {signature.name!r}; "
                f"they have {', '.join(batch.schema.names)}",
                "ordain models show PROJECT lists a version's inputs",
            )
    return inputs


def add_outputs(batch: pa.RecordBatch, outputs: Arrays) -> pa.RecordBatch:
    """Appends a column for each output, prefixed with `output_` if the name is taken.

    Raises:
        DataBlockedError: An output does not have a value for each row.
    """
    for name, array in sorted(outputs.items()):
        if array.ndim == 0 or len(array) != batch.num_rows:
            raise DataBlockedError(f"output {name!r} does not have a value for each row")
        free = name if name not in batch.schema.names else f"output_{name}"
        batch = batch.append_column(free, to_column(array))
    return batch


def to_column(array: Array) -> pa.Array:
    """Converts an output to a column with a value or a list for each row."""
    if array.ndim > 1 and array.size == len(array):
        array = array.reshape(-1)
    if array.ndim > 1:
        return pa.array(array.tolist())
    if array.dtype == object:
        items = [bytes(item) for item in array]
        try:
            return pa.array([item.decode("utf-8") for item in items])
        except UnicodeDecodeError:
            return pa.array(items, pa.binary())
    return pa.array(array)


def _to_array(column: pa.Array, spec: TensorSpec) -> Array:
    if column.null_count:
        column = _fill(column, spec)
    try:
        array = _convert(column, spec)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise DataBlockedError(
            f"column {spec.name!r} is {column.type}, expected {spec.type.tf}: {error}"
        ) from error
    if spec.shape is not None and array.ndim == 1 and len(spec.shape) == 2:
        # Single values for an input that takes a list per row.
        array = array.reshape(-1, 1)
    return array


def _fill(column: pa.Array, spec: TensorSpec) -> pa.Array:
    missing = spec.missing_value
    if missing is None:
        row = next(i for i, value in enumerate(column) if not value.is_valid)
        raise DataBlockedError(f"column {spec.name!r} is required, and has no value in row {row}")
    if pa.types.is_null(column.type):
        return pa.array([missing] * len(column))
    if isinstance(missing, float) and pa.types.is_integer(column.type):
        column = column.cast(pa.float64())
    return column.fill_null(missing)


def _convert(column: pa.Array, spec: TensorSpec) -> Array:
    if spec.type.is_string:
        values = column.to_pylist()
        array = np.array(values, dtype=object) if values else np.empty((0,), dtype=object)
        flat = array.ravel()
        for place, value in enumerate(flat):
            if not isinstance(value, (str, bytes)):
                raise TypeError(f"{value!r} is not a string")
            flat[place] = value.encode() if isinstance(value, str) else value
        return flat.reshape(array.shape)
    if pa.types.is_nested(column.type):
        array = np.array(column.to_pylist())
        if array.dtype == object:
            raise ValueError("lists of different lengths")
    else:
        array = column.to_numpy(zero_copy_only=False)
    wanted = spec.type.numpy
    if array.dtype.kind not in "biuf" or (wanted.kind == "b") != (array.dtype.kind == "b"):
        raise TypeError("incompatible type")
    narrow = array.astype(wanted)
    if wanted.kind in "iu" and not np.array_equal(narrow, array):
        raise ValueError("a value is out of range or not a whole number")
    return narrow
