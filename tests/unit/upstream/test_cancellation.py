"""TensorFlow functions that are cancelled from another thread."""

import threading
import time

import pytest
import tensorflow as tf

from ordain.upstream.tensorflow import Cancellation


@tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
def count(limit):
    """Counts up to a limit; a negative one is never reached."""
    with tf.control_dependencies([tf.debugging.assert_none_equal(limit, 7)]):
        limit = tf.identity(limit)
    return tf.while_loop(lambda i: tf.not_equal(i, limit), lambda i: [(i + 1) % 99], [0])[0]


def test_a_function_that_fails_does_not_cancel_the_next_one():
    with Cancellation().cancellable():
        with pytest.raises(tf.errors.InvalidArgumentError):
            count(7)
        assert count(3).numpy() == 3


def test_one_thread_is_cancelled_and_the_other_is_not():
    cancellation, ended = Cancellation(), threading.Event()

    def endless():
        with cancellation.cancellable(), pytest.raises(tf.errors.CancelledError):
            count(-1)
        with cancellation.cancellable(), pytest.raises(tf.errors.CancelledError):
            count(-1)  # what comes after it is cancelled as well
        ended.set()

    threading.Thread(target=endless, daemon=True).start()
    time.sleep(0.2)
    with Cancellation().cancellable():
        assert count(3).numpy() == 3
        assert not ended.is_set()
        cancellation.cancel()
        assert ended.wait(120)
        assert count(4).numpy() == 4
