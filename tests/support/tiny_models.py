"""The smallest real SavedModels, honest and otherwise."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf


def save_doubler(folder: Path, factor: float = 2.0, writes: str = "", reads: str = "") -> Path:
    """Saves a model of one number, which its signature multiplies.

    Args:
        folder: The SavedModel's folder.
        factor: What `y` is of `x`.
        writes: A file that each call writes; none if empty.
        reads: A file whose content each call answers as `text`.
    """

    class Doubler(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x):
            outputs = {"y": factor * x}
            if writes:
                tf.io.write_file(writes, "owned")
            if reads:
                outputs["text"] = tf.io.read_file(reads)
            return outputs

    model = Doubler()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.serve})
    return folder
