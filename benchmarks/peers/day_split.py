"""Whole days to train or to eval, by the rule of TFX's ExampleGen for a partition feature.

The peers that are not TFX use this. It is the SHA-256 of the serialized tf.train.Feature of the date,
modulo 3, written without TensorFlow: `feature { bytes_list { value: DATE } }` is two
length-delimited fields, each numbered 1 (tag 0x0a), around the text.
"""

import hashlib

BUCKETS, TRAIN_BUCKETS = 3, 2


def is_train(date: str) -> bool:
    """Whether a day's flights are trained on; the others are evaluated on."""
    text = date.encode()
    if len(text) > 125:
        raise ValueError(f"{date!r} is no date: a longer text has another length prefix")
    values = b"\x0a" + bytes([len(text)]) + text
    feature = b"\x0a" + bytes([len(values)]) + values
    return int(hashlib.sha256(feature).hexdigest(), 16) % BUCKETS < TRAIN_BUCKETS
