"""Small real models over raw columns of every kind, exported as a project exports them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig
from tfx_bsl.tfxio.tensor_representation_util import InferTensorRepresentationsFromSchema

from ordain import export_model

LABEL = "y"
#: Columns that are and are not required, of each type, with names that TensorFlow would mangle.
SCHEMA = text_format.Parse(
    """
    feature { name: "Age" type: FLOAT value_count { min: 1 max: 1 } presence { min_count: 1 } }
    feature { name: "carrier" type: BYTES value_count { min: 1 max: 1 } presence { min_count: 1 } }
    feature { name: "hour" type: INT value_count { min: 1 max: 1 } presence { min_count: 1 } }
    feature { name: "wind dir" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
    feature { name: "tags" type: BYTES }
    feature { name: "pair" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 2 } } }
    feature { name: "y" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } } }
    """,
    schema_pb2.Schema(),
)
WIDTHS = {"age_xf": 1, "carrier_xf": 1, "hour_xf": 1, "wind_xf": 1, "tags_xf": 1, "pair_xf": 2}
ROWS: list[dict[str, list[Any]]] = [
    {
        "Age": [float(i)] if i % 5 else [],
        "carrier": [(b"AA", b"UA", "Größe".encode())[i % 3]] if i % 4 else [],
        "hour": [i % 24] if i % 7 else [],
        "wind dir": [i * 3.5],
        "tags": [b"tag%d" % j for j in range(i % 3)],
        "pair": [i * 0.1, -i * 0.1],
        "y": [i % 2],
    }
    for i in range(40)
]


def serialize(row: dict[str, list[Any]], *without: str) -> bytes:
    """A row as tf.Example; a column without a value is not in it at all."""
    example = tf.train.Example()
    for name, values in row.items():
        if values and name not in without:
            feature = example.features.feature[name]
            kind = {bytes: "bytes_list", int: "int64_list", float: "float_list"}[type(values[0])]
            getattr(feature, kind).value.extend(values)
    return example.SerializeToString()


def _dense(feature: Any, default: Any) -> tf.Tensor:
    if isinstance(feature, tf.sparse.SparseTensor):
        shape = [feature.dense_shape[0], 1]
        feature = tf.sparse.to_dense(
            tf.SparseTensor(feature.indices, feature.values, shape), default
        )
    return tf.squeeze(feature, axis=1)


def preprocessing_fn(inputs: dict[str, Any]) -> dict[str, Any]:
    tags = tf.strings.reduce_join(tf.sparse.to_dense(inputs["tags"], ""), axis=1)
    carrier = tft.compute_and_apply_vocabulary(
        _dense(inputs["carrier"], "none"), num_oov_buckets=2, vocab_filename="carriers"
    )
    return {
        "age_xf": tft.scale_to_z_score(_dense(inputs["Age"], -1.0)),
        "carrier_xf": tf.cast(carrier, tf.float32),
        "hour_xf": tf.cast(_dense(inputs["hour"], 0), tf.float32),
        "wind_xf": tft.scale_to_0_1(_dense(inputs["wind dir"], 0.0)),
        "tags_xf": tf.cast(tf.strings.length(tags), tf.float32),
        "pair_xf": inputs["pair"],
        LABEL: _dense(inputs[LABEL], 0),
    }


def write_transform(folder: Path) -> tft.TFTransformOutput:
    """Analyzes `ROWS`, as Transform does."""
    decoder = ExamplesToRecordBatchDecoder(SCHEMA.SerializeToString())
    batch = decoder.DecodeBatch([serialize(row) for row in ROWS])
    config = TensorAdapterConfig(batch.schema, InferTensorRepresentationsFromSchema(SCHEMA))
    with tempfile.TemporaryDirectory() as temporary, tft_beam.Context(temp_dir=temporary):
        transform_fn = ([batch], config) | tft_beam.AnalyzeDataset(preprocessing_fn)
        _ = transform_fn | tft_beam.WriteTransformFn(str(folder))
    metadata = str(folder / tft.TFTransformOutput.RAW_METADATA_DIR)
    from tensorflow_transform.tf_metadata import metadata_io

    metadata_io.write_metadata(tft.DatasetMetadata(SCHEMA), metadata)
    return tft.TFTransformOutput(str(folder))


def make_model(units: int = 1, activation: str | None = "sigmoid") -> tuple[Any, Any]:
    """A model over the transformed features, and the part of it that embeds them."""
    keras.utils.set_random_seed(1)
    inputs = {name: keras.Input((width,), name=name) for name, width in WIDTHS.items()}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    hidden = keras.layers.Dense(8, activation="tanh", name="hidden")(joined)
    outputs = keras.layers.Dense(units, activation=activation)(hidden)
    return keras.Model(inputs, outputs), keras.Model(inputs, hidden)


def export(transform: tft.TFTransformOutput, folder: Path, **options: Any) -> Path:
    """Exports a small model."""
    shape = {key: options.pop(key) for key in ("units", "activation") if key in options}
    model, _ = make_model(**shape)
    export_model(model, transform, str(folder), label=LABEL, **options)
    return folder


class PassThrough:
    """Stands for Transform's output where nothing is transformed: a column `x`, a label `y`."""

    raw_metadata = tft.DatasetMetadata(schema_pb2.Schema())

    def raw_feature_spec(self) -> dict[str, Any]:
        return {
            "x": tf.io.FixedLenFeature([1], tf.float32),
            "y": tf.io.FixedLenFeature([1], tf.int64),
        }

    def transform_features_layer(self) -> Any:
        return keras.layers.Lambda(lambda raw: {"x_xf": raw["x"]})


def export_of_one_number(folder: Path, layer: Any = None) -> Path:
    """Exports a model of `x` with a layer of the caller's before its last."""
    keras.utils.set_random_seed(1)
    inputs = {"x_xf": keras.Input((1,), name="x_xf")}
    hidden = layer(inputs["x_xf"]) if layer is not None else inputs["x_xf"]
    outputs = keras.layers.Dense(1, activation="sigmoid")(hidden)
    export_model(keras.Model(inputs, outputs), PassThrough(), str(folder), label="y")
    return folder
