"""Exports a project's model with the signatures that evaluation and servers need.

- `serving_default`: one input for each raw column, with its name, as in rows of JSON;
- `serving_tf_example`: serialized tf.Examples `examples [batch] string`; predicts the same;
- `transform_features`: from the input of `serving_tf_example` to the transformed features,
  including the label if the examples have it.

Types of inputs and outputs, the classes and the threshold are stored in the model as an asset, see
`ordain.serving.export.description`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from ordain.errors import ConfigError
from ordain.serving.export.description import (
    DESCRIPTION_FILE,
    EXAMPLES_INPUT,
    SERVING_DEFAULT,
    SERVING_TF_EXAMPLE,
    TRANSFORM_FEATURES,
    Description,
    Task,
)
from ordain.serving.export.raw_features import features_of, input_specs, to_raw
from ordain.serving.export.rename_tensors import finish_export

#: Name of the output of a model that returns a single tensor.
OUTPUT = "outputs"
#: Default probability from which on the second class is predicted.
DEFAULT_THRESHOLD = 0.5
RESERVED = (SERVING_DEFAULT, SERVING_TF_EXAMPLE, TRANSFORM_FEATURES)


def export_model(
    model: Any,
    transform_output: Any,
    folder: str,
    label: str,
    *,
    threshold: float | None = None,
    classes: Sequence[str | bytes | int] | None = None,
    signatures: Mapping[str, Callable[[dict[str, Any]], Any]] | None = None,
) -> None:
    """Saves a Keras model over transformed features as a SavedModel over raw columns.

    Args:
        model: Keras model; its inputs are named like the transformed features, each `[batch, n]`.
        transform_output: The `tft.TFTransformOutput` whose graph transforms the features.
        folder: Folder for the SavedModel.
        label: The label's name, in the raw and in the transformed features.
        threshold: Outputs from this value on are the second class; 0.5 for one sigmoid output. A
            model with one output and neither sigmoid, threshold nor classes is a regression.
        classes: Names of the classes in the order of the outputs: two for a single output,
            otherwise one for each output; 0, 1, ... by default.
        signatures: Further signatures by name: Keras models, or functions of the transformed
            features. They have the inputs of `serving_default`.

    Raises:
        ConfigError: An argument does not fit the model, or a column cannot be an input.
    """
    spec = transform_output.raw_feature_spec()
    features = features_of(spec, transform_output.raw_metadata.schema, label)
    unlabelled = {name: kind for name, kind in spec.items() if name != label}
    task, vocabulary, limit = _task(model, threshold, classes)
    own = dict(signatures or {})
    for name in own:
        if name in RESERVED or not name.isidentifier():
            raise ConfigError(
                f"export_model: a further signature cannot be named {name!r}",
                f"use an identifier other than {', '.join(RESERVED)}",
            )

    module = tf.Module()
    module.model = model
    module.transform = transform_output.transform_features_layer()
    # TensorFlow saves variables of tracked objects only; plain functions have none.
    module.heads = [head for head in own.values() if isinstance(head, tf.Module | keras.Model)]
    names = [f"raw_{i:05d}" for i in range(len(features))]
    columns = input_specs(features, names)
    examples = tf.TensorSpec([None], tf.string, name=EXAMPLES_INPUT)

    def on_columns(head: Any) -> Any:
        @tf.function(input_signature=columns, autograph=False)
        def predict(*values: tf.Tensor) -> dict[str, tf.Tensor]:
            return _predict(head, module.transform(to_raw(features, values, unlabelled)))

        return predict

    @tf.function(input_signature=[examples], autograph=False)
    def on_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return _predict(model, module.transform(tf.io.parse_example(examples, unlabelled)))

    @tf.function(input_signature=[examples], autograph=False)
    def transform(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(module.transform(tf.io.parse_example(examples, spec)))

    description = Description(features, label, task, vocabulary, limit)
    with tempfile.TemporaryDirectory() as temporary:
        asset = Path(temporary, Path(DESCRIPTION_FILE).name)
        asset.write_text(description.to_json(), encoding="utf-8")
        # Tracked, so that every copy of the model made by TensorFlow keeps it.
        module.description = tf.saved_model.Asset(str(asset))
        tf.saved_model.save(
            module,
            folder,
            signatures={
                SERVING_DEFAULT: on_columns(model),
                SERVING_TF_EXAMPLE: on_examples,
                TRANSFORM_FEATURES: transform,
                **{name: on_columns(head) for name, head in own.items()},
            },
        )
    finish_export(
        folder,
        description,
        {name: f.name for name, f in zip(names, features, strict=True)},
        {SERVING_DEFAULT, *own},
    )


def _predict(head: Any, transformed: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """Runs a model, or a function, on transformed features."""
    features = {
        name: tf.expand_dims(value, -1) if len(value.shape) == 1 else value
        for name, value in transformed.items()
    }
    if isinstance(head, keras.Model):
        wanted = {tensor.name for tensor in head.inputs}
        result = head({k: v for k, v in features.items() if k in wanted}, training=False)
    else:
        result = head(features)
    if isinstance(result, Mapping):
        return dict(result)
    if isinstance(result, list | tuple):
        raise ConfigError(
            f"export_model: a model returns {len(result)} tensors without names",
            "return a dict whose keys are the signature's outputs",
        )
    return {OUTPUT: result}


def _task(
    model: Any, threshold: float | None, classes: Sequence[str | bytes | int] | None
) -> tuple[Task, tuple[str | int, ...], float | None]:
    """The model's task, class vocabulary and threshold."""
    named = tuple(c.decode() if isinstance(c, bytes) else c for c in classes or ())
    width = model.outputs[0].shape[-1] if len(model.outputs) == 1 else None
    if width == 1:
        is_binary = bool(named) or threshold is not None or _activation(model) == "sigmoid"
        if not is_binary:
            return "regression", (), None
        if named and len(named) != 2:
            raise ConfigError(
                f"export_model: the model has one output, and classes names {len(named)}",
                "name two, the one below the threshold first",
            )
        return "binary", named or (0, 1), DEFAULT_THRESHOLD if threshold is None else threshold
    if threshold is not None:
        raise ConfigError(
            "export_model: threshold is for a model with one output for each row",
            "leave threshold out",
        )
    if width is None:
        # Several outputs, or one of unknown size: classes cannot be assigned.
        return ("multiclass" if named else "regression"), named, None
    if named and len(named) != width:
        raise ConfigError(
            f"export_model: the model has {width} outputs, and classes names {len(named)}",
            "name one class for each output, in their order",
        )
    if not named and _activation(model) != "softmax":
        return "regression", (), None
    return "multiclass", named or tuple(range(width)), None


def _activation(model: Any) -> str | None:
    """Name of the last layer's activation, or of the layer itself."""
    layer = model.layers[-1]
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", None) or type(layer).__name__.lower()
    return str(name)
