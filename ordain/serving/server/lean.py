"""TensorFlow without Keras: a server computes a SavedModel's graph, and needs no more.

TensorFlow imports Keras for its own `tf.keras`, and Keras brings SciPy, scikit-learn and pandas: a
third of a server's start and 150 MB of its memory (TensorFlow 2.21, Keras 3.15). TensorFlow takes
it for optional.
"""

from __future__ import annotations

import sys

#: TensorFlow tries one after the other.
_LEFT_OUT = ("keras", "tf_keras")


def leave_keras_out() -> None:
    """Has Keras not found by this process, if it was not imported before.

    Has to be called before TensorFlow is imported. For processes that do nothing but serve.
    """
    if "tensorflow" in sys.modules:
        return
    for name in _LEFT_OUT:
        # None is Python's own mark for a module that cannot be imported.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
