"""A helper beside model.py: its text is part of the cache key, though TFX would not look at it."""

import tensorflow as tf

PIXELS = [f"p{i}" for i in range(64)]


def dense(feature):
    if isinstance(feature, tf.sparse.SparseTensor):
        shape = [feature.dense_shape[0], 1]
        feature = tf.sparse.to_dense(tf.SparseTensor(feature.indices, feature.values, shape))
    return tf.squeeze(feature, axis=1)
