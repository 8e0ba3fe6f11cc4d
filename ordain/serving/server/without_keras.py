"""Imports TensorFlow without Keras, for processes that only run SavedModels.

TensorFlow imports Keras for `tf.keras`, and Keras imports SciPy, scikit-learn and pandas: a third
of a server's start and 150 MB of its memory (TensorFlow 2.21, Keras 3.15). To TensorFlow, Keras is
optional.
"""

from __future__ import annotations

import sys

#: TensorFlow tries them in this order.
_HIDDEN = ("keras", "tf_keras")


def hide_keras() -> None:
    """Makes Keras unimportable in this process; does nothing after TensorFlow was imported."""
    if "tensorflow" in sys.modules:
        return
    for name in _HIDDEN:
        # None marks a module that cannot be imported.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
