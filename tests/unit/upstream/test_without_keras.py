"""A server without Keras loads a SavedModel made by Keras, and predicts as Keras does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np

ROOT = Path(__file__).resolve().parents[3]
LEAN = """
import sys
import numpy as np
from ordain.upstream.tensorflow_import import hide_keras
hide_keras()
import tensorflow as tf
from ordain.serving.server import app
model = tf.saved_model.load(sys.argv[1])
(answer,) = model.signatures["serving_default"](tf.ones([2, 3])).values()
np.save(sys.argv[2], answer.numpy())
loaded = [name for name in ("keras", "tf_keras") if sys.modules.get(name) is not None]
assert not loaded, loaded
assert "pandas" not in sys.modules
"""


def test_a_keras_model_is_served_without_keras(tmp_path: Path) -> None:
    # A normalisation has more to save than what is trained.
    layers = [keras.layers.Dense(4, "relu"), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1)])
    model.export(tmp_path / "model", verbose=False)
    saved = tmp_path / "answer.npy"
    done = subprocess.run(
        [sys.executable, "-c", LEAN, str(tmp_path / "model"), str(saved)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(saved), model.predict(np.ones((2, 3)), verbose=0), 1e-5)


def test_nothing_changes_after_tensorflow_was_imported() -> None:
    code = """
import keras, tensorflow
from ordain.upstream.tensorflow_import import hide_keras
hide_keras()
import keras as again
assert again is keras
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT)
    assert done.returncode == 0
