"""The server gate's rules: each limit from both sides."""

import dataclasses
import math

import pytest

from components.server_checks import (
    Asked,
    Limits,
    judge_files,
    judge_network,
    judge_run,
    judge_scan,
    judge_size,
    judge_stop,
    percentile,
    verdict_of,
)
from contracts.verdict import Outcome
from serving.scan import Problem

LIMITS = Limits(max_load_s=10, max_size_mb=5, max_memory_mb=100, max_p99_ms=20, tolerance=0.01)
FINE = Asked("REST", 2, (0.0, 0.005), (), (1.0, 2.0))


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
        ("answers.rest", {"count": 0, "distances": (), "single_ms": (1.0,)}),
        ("latency.rest", {"single_ms": (1.0, 21.0)}),
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


def test_an_answer_that_was_refused_is_quoted_once():
    reason = run(errors=("400 b", "400 a", "400 a"))["answers.rest"]
    assert reason.text == "3 of 2 REST requests refused: 400 a; 400 b"


@pytest.mark.parametrize("why", ["imports", "load", "memory", "time", "crash"])
def test_a_server_that_was_given_up(why):
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


def test_a_network_that_stays_is_said():
    assert judge_network(has_network=False).outcome is Outcome.PASSED
    assert judge_network(has_network=True).outcome is Outcome.WARNED
    assert judge_files(has_files=False).outcome is Outcome.PASSED
    assert judge_files(has_files=True).outcome is Outcome.WARNED


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)]
)
def test_percentiles_are_by_nearest_rank(share, value):
    assert percentile(list(range(100, 0, -1)), share) == value
    assert percentile([7], share) == 7
