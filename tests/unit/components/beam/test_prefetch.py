"""Prefetching: order, one batch ahead, errors."""

import threading

import pytest

from ordain.components.beam.prefetch import prefetch


def test_batches_come_in_order():
    assert list(prefetch(iter(range(100)))) == list(range(100))
    assert list(prefetch(iter([]))) == []


def test_next_batch_is_made_while_the_caller_has_the_one_before():
    made = threading.Event()

    def batches():
        yield "first"
        made.set()
        yield "second"

    stream = prefetch(batches())
    assert next(stream) == "first"
    assert made.wait(120), "the second batch waits for the caller"
    assert next(stream) == "second"


def test_error_reaches_the_caller_in_order():
    def batches():
        yield "first"
        raise ValueError("broken record")

    seen = []
    with pytest.raises(ValueError, match="broken record"):
        seen.extend(prefetch(batches()))
    assert seen == ["first"]
