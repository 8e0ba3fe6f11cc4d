"""The one helper that a project's `run_fn` exports its model with.

Every model gets the signatures that the evaluation, the serving and the tests rely on:

- `serving_default`: serialized tf.Examples `examples [batch] string` -> `outputs`;
- `transform_features`: the same input -> the transformed features, the label among them when
  the examples hold it.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def export_model(model: Any, transform_output: Any, folder: str, label: str) -> None:
    """Saves a Keras model over transformed features as a SavedModel over raw examples.

    Args:
        model: Keras model; its inputs are named as the transformed features, each `[batch, n]`.
        transform_output: The `tft.TFTransformOutput` whose graph prepares the features.
        folder: Where the SavedModel goes.
        label: The label's name, in the raw and in the transformed features.
    """
    module = tf.Module()
    module.model = model
    module.transform = transform_output.transform_features_layer()
    raw_spec = transform_output.raw_feature_spec()
    unlabelled_spec = {name: spec for name, spec in raw_spec.items() if name != label}
    examples = tf.TensorSpec([None], tf.string, name="examples")
    wanted = {tensor.name for tensor in model.inputs}

    @tf.function(input_signature=[examples])
    def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = tf.io.parse_example(examples, unlabelled_spec)
        features = {
            name: tf.expand_dims(value, -1) if len(value.shape) == 1 else value
            for name, value in module.transform(raw).items()
            if name in wanted
        }
        return {"outputs": model(features, training=False)}

    @tf.function(input_signature=[examples])
    def transform(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(module.transform(tf.io.parse_example(examples, raw_spec)))

    signatures = {"serving_default": serve, "transform_features": transform}
    tf.saved_model.save(module, folder, signatures=signatures)
