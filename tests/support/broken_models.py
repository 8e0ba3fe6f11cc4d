"""SavedModels of allowed operations that pass the scan, and hang, raise or take memory."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from servers import Toy
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

#: Elements of float32 that the `memory` model fills while it is loaded: 4 GB.
FILLED = 1_000_000_000


class _AtLoad(tf.saved_model.experimental.TrackableResource):
    """A resource whose initializer does something bad; a SavedModel's loader runs it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.int64)

    def _initialize(self) -> None:
        if self._kind == "hang":
            last = tf.while_loop(lambda i: i >= 0, lambda i: [(i + 1) % 7], [tf.constant(0)])
            tf.debugging.assert_less(last, 0)
        elif self._kind == "raise":
            count = tf.random.uniform([], 0, 1)
            tf.debugging.assert_greater(count, 2.0, "not today")
        elif self._kind == "memory":
            size = tf.cast(FILLED + tf.random.uniform([], 0, 1), tf.int32)
            filled = tf.fill([size], tf.random.uniform([]))
            tf.debugging.assert_greater(tf.reduce_sum(filled[::1_000_000]), -1.0)


class Broken(Toy):
    """The toy with signatures that never end for some requests, and a resource."""

    def __init__(self, version: int, kind: str) -> None:
        super().__init__(version)
        self.at_load = _AtLoad(kind)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def forever(self, x):
        """Never ends for a number above 5."""
        above = tf.reduce_max(x) > 5
        rounds = tf.while_loop(
            lambda i: tf.logical_or(above, i < 3), lambda i: [(i + 1) % 1000], [tf.constant(0)]
        )[0]
        return {"y": x + tf.cast(rounds, tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="size")])
    def kernel(self, size):
        """One kernel, which cannot be interrupted: n x n times n x n."""
        matrix = tf.fill([tf.reduce_max(size)] * 2, 0.5)
        return {"y": tf.cast(size, tf.float32) + tf.reduce_sum(tf.matmul(matrix, matrix))}

    @tf.function(input_signature=[tf.TensorSpec([1 << 50], tf.float32, name="x")])
    def huge(self, x):
        """An input that no memory holds."""
        return {"y": tf.reduce_sum(x)}


def save_broken(folder: Path, version: int, kind: str = "") -> Path:
    """Saves a toy with one fault.

    Args:
        folder: Where to.
        version: What it answers as `v`.
        kind: `hang`, `raise` or `memory` while it is loaded, `default` (a signature's default value
            that cannot be read), `warmup` (an input whose row of zeros fits no memory), or none.
    """
    toy = Broken(version, kind)
    signatures = {"serving_default": toy.plain, "forever": toy.forever, "kernel": toy.kernel}
    if kind == "warmup":
        signatures["huge"] = toy.huge
    tf.saved_model.save(toy, str(folder), signatures=signatures)
    if kind == "default":
        path = folder / "saved_model.pb"
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
        default = saved.meta_graphs[0].signature_def["forever"].defaults["x"]
        default.dtype = types_pb2.DT_QINT8
        path.write_bytes(saved.SerializeToString())
    return folder
