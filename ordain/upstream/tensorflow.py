"""TensorFlow 2.21: private state that has no public accessor.

Only read. `tests/unit/upstream/test_tensorflow.py` fails when the state moves.
"""

from __future__ import annotations

from tensorflow.python.eager import context


def has_started() -> bool:
    """True once TensorFlow has made its threads, after which a fork would lack them."""
    return context._context is not None and context._context._context_handle is not None
