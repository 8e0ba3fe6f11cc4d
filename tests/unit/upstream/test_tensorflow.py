"""TensorFlow's private state, read in a fresh process before and after its first operation."""

import subprocess
import sys


def test_has_started_turns_true_with_the_first_operation():
    code = """
import tensorflow as tf
from ordain.upstream.tensorflow import has_started

assert has_started() is False
tf.constant(1)
assert has_started() is True
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
