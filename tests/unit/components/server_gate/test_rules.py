"""The server gate's rules: each limit from both sides."""

import dataclasses
import math

import pytest

from ordain.components.server_gate.rules import (
    Limits,
    ProtocolResult,
    judge_files,
    judge_network,
    judge_run,
    judge_scan,
    judge_size,
    judge_stop,
    verdict_of,
)
from ordain.serving.sandbox.latency import SAMPLES, Series
from ordain.serving.scan.scan import Problem
from ordain.verdict import Outcome

LIMITS = Limits(max_load_s=10, max_size_mb=5, max_memory_mb=100, max_p99_ms=20, tolerance=0.01)
QUIET = Series((1.0,) * SAMPLES, LIMITS.max_p99_ms)
SLOW = Series((1.0, 21.0, 22.0, 23.0, 24.0), LIMITS.max_p99_ms)
SHORT = Series((1.0,) * 30, LIMITS.max_p99_ms)
FINE = ProtocolResult("REST", 2, (0.0, 0.005), (), (QUIET,))


def run(load_s=1.0, peak_bytes=50_000_000, **changes):
    asked = dataclasses.replace(FINE, **changes)
    return {r.kind: r for r in judge_run(load_s, peak_bytes, [asked], LIMITS)}


def test_everything_within_its_limit_passes():
    assert {reason.outcome for reason in run().values()} == {Outcome.PASSED}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("load", {"load_s": 10.1}),
        ("memory", {"peak_bytes": 100_100_000}),
        ("answers.rest", {"distances": (0.0, 0.011)}),
        ("answers.rest", {"distances": (0.0, math.inf)}),
        ("answers.rest", {"errors": ("500 no",)}),
        ("answers.rest", {"count": 0, "distances": ()}),
        ("latency.rest", {"series": (SLOW, SLOW)}),
    ],
)
def test_one_limit_exceeded_blocks_by_its_name(kind, changes):
    reasons = run(**changes)
    assert [k for k, r in reasons.items() if r.outcome is Outcome.BLOCKED] == [kind]
    assert verdict_of(reasons.values()).is_blocked
    assert reasons[kind].advice


@pytest.mark.parametrize(("size", "outcome"), [(5_000_000, "passed"), (5_000_001, "blocked")])
def test_size(size, outcome):
    assert judge_size(size, LIMITS).outcome == outcome


def test_same_error_is_quoted_once():
    reason = run(errors=("400 b", "400 a", "400 a"))["answers.rest"]
    assert reason.text == "3 of 2 REST requests failed: 400 a; 400 b"


@pytest.mark.parametrize("why", ["imports", "load", "memory", "time", "crash"])
def test_stopped_server(why):
    reason = judge_stop(why, "detail", LIMITS)
    assert (reason.outcome, reason.kind) == (Outcome.BLOCKED, f"server.{why}")
    assert reason.text.endswith(": detail") and reason.advice


def test_problems_of_the_scan_are_named_one_by_one():
    problems = [Problem("ReadFile", "node a", "reads files"), Problem("x.so", "", "is code")]
    found = judge_scan(problems)
    assert [(r.outcome, r.where, r.text) for r in found] == [
        (Outcome.BLOCKED, "node a", "ReadFile reads files"),
        (Outcome.BLOCKED, "", "x.so is code"),
    ]
    assert [r.outcome for r in judge_scan([])] == [Outcome.PASSED]


def test_network_access_is_a_warning():
    assert judge_network(has_network=False).outcome is Outcome.PASSED
    assert judge_network(has_network=True).outcome is Outcome.WARNED
    assert judge_files(has_files=False).outcome is Outcome.PASSED
    assert judge_files(has_files=True).outcome is Outcome.WARNED


@pytest.mark.parametrize(
    ("series", "outcome", "says"),
    [
        ((QUIET,), "passed", "p99 1.0 ms of 300 requests; p99 may be at most 20 ms"),
        # Slow while the machine was busy, and not in a second series.
        (
            (SLOW, QUIET),
            "passed",
            "in a second series, after 4 of 5 requests took longer than 20 ms",
        ),
        ((SLOW, SLOW), "blocked", "4 of 5 requests took longer than 20 ms"),
        ((SHORT,), "warned", "p90 1.0 ms of 30 requests"),
        ((SLOW, SHORT), "warned", "in a second series"),
        ((), "warned", "no REST request of one row succeeded"),
    ],
)
def test_latency_blocks_only_after_a_second_series(series, outcome, says):
    reason = run(series=series)["latency.rest"]
    assert reason.outcome == outcome
    assert says in reason.text


def test_single_pause_does_not_block():
    times = [1.0] * SAMPLES
    times[7] = 5000.0
    reason = run(series=(Series(tuple(times), LIMITS.max_p99_ms),))["latency.rest"]
    assert (reason.outcome, reason.measured) == (Outcome.PASSED, 1.0)
