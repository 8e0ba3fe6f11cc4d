"""Argo's rules for retrying a task, as a table."""

import pytest

from ordain.kubeflow.simulator.attempts import next_wait_s
from ordain.kubeflow.simulator.job import Retry

THREE = Retry(count=3, backoff_s=10, factor=2, max_s=None)
SHORT = Retry(count=3, backoff_s=10, factor=2, max_s=35)


@pytest.mark.parametrize(
    ("retry", "ended", "state", "since_first_s", "expected"),
    [
        (THREE, 1, "failed", 5, 10),
        (THREE, 2, "failed", 5, 20),
        (THREE, 3, "timed out", 5, 40),
        (THREE, 4, "failed", 5, None),
        (THREE, 1, "lost", 5, None),
        (THREE, 1, "succeeded", 5, None),
        (THREE, 1, "canceled", 5, None),
        (Retry(), 1, "failed", 5, None),
        # The limit applies to all attempts together.
        (SHORT, 1, "failed", 25, 10),
        (SHORT, 1, "failed", 25.1, None),
        (SHORT, 2, "failed", 15, 20),
        (SHORT, 2, "failed", 16, None),
        # As KFP's SDK compiles set_retry(2): a trainer that fails after an hour is not retried.
        (Retry(2, 0, 2, 3600), 1, "failed", 3599, 0),
        (Retry(2, 0, 2, 3600), 1, "failed", 3601, None),
    ],
)
def test_the_wait_before_the_next_attempt(retry, ended, state, since_first_s, expected):
    assert next_wait_s(retry, ended, state, since_first_s) == expected
