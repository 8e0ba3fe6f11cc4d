"""Raw columns as inputs of a signature: one named tensor each, including missing values.

The tensors are the same as those of `tf.io.parse_example` for the same rows: columns with a value
in every row are dense, others sparse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from ordain.errors import ConfigError
from ordain.serving.export.description import MISSING, Dtype, Feature


def features_of(spec: Mapping[str, Any], schema: Any, label: str) -> tuple[Feature, ...]:
    """The inputs of a model over raw columns.

    Args:
        spec: Parse specification by column, from `TFTransformOutput.raw_feature_spec`.
        schema: The `schema_pb2.Schema` of the specification; defines which columns have at most one
            value.
        label: The column that is not an input.

    Raises:
        ConfigError: A column cannot be an input.
    """
    single = {
        f.name for f in schema.feature if f.HasField("value_count") and f.value_count.max == 1
    }
    return tuple(
        _feature(name, spec[name], name in single) for name in sorted(spec) if name != label
    )


def _feature(name: str, kind: Any, is_single: bool) -> Feature:
    if name == "self":
        raise ConfigError(
            "column 'self' cannot be an input of a signature: the name is reserved by Python",
            "rename the column",
        )
    if isinstance(kind, tf.io.FixedLenFeature):
        sizes = list(kind.shape)
        # In JSON a single value per row is a scalar, not a list.
        shape = (None,) if sizes in ([], [1]) else (None, *sizes)
        return Feature(name, kind.dtype.name, shape)
    if isinstance(kind, tf.io.VarLenFeature):
        shape = (None,) if is_single else (None, None)
        return Feature(name, kind.dtype.name, shape, is_required=False)
    raise ConfigError(
        f"column {name!r} is a {type(kind).__name__}, which serving_default does not support",
        "describe it in the schema as a plain feature, without tensor representations",
    )


def input_specs(features: Sequence[Feature], names: Sequence[str]) -> list[tf.TensorSpec]:
    """Specifications of the inputs, under names that TensorFlow accepts."""
    return [
        tf.TensorSpec(f.shape, tf.as_dtype(f.dtype), name=name)
        for f, name in zip(features, names, strict=True)
    ]


def to_raw(
    features: Sequence[Feature], values: Sequence[tf.Tensor], spec: Mapping[str, Any]
) -> dict[str, Any]:
    """Converts inputs to the tensors that `tf.io.parse_example` makes of the same rows.

    Args:
        features: The inputs.
        values: One tensor each, of its dtype and shape; a missing value is `Feature.missing`.
        spec: Parse specification by column.

    Returns:
        `[batch, ...]` dense or `[batch, n]` sparse tensors by column.
    """
    raw = {}
    for feature, value in zip(features, values, strict=True):
        if feature.is_required:
            raw[feature.name] = tf.reshape(value, [-1, *spec[feature.name].shape])
        else:
            raw[feature.name] = _sparse(value, feature.dtype)
    return raw


def _sparse(value: tf.Tensor, dtype: Dtype) -> tf.SparseTensor:
    """Converts `[batch]` or `[batch, n]` to sparse `[batch, longest row]`; drops missing values."""
    rows = value if len(value.shape) == 2 else tf.expand_dims(value, -1)
    has_value = (
        tf.logical_not(tf.math.is_nan(rows)) if dtype == "float32" else rows != MISSING[dtype]
    )
    lengths = tf.reduce_sum(tf.cast(has_value, tf.int64), axis=1)
    kept = tf.boolean_mask(rows, has_value)
    return tf.RaggedTensor.from_row_lengths(kept, lengths, validate=False).to_sparse()
