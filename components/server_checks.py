"""What the server gate holds against its limits, as reasons of a verdict.

Pure: takes what was measured, and knows neither servers nor TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from contracts.verdict import Outcome, Reason, Verdict
from serving.scan import Problem

GATE = "server"
#: Refused answers that are repeated in a verdict; more are counted.
MAX_ERRORS = 3
_STOPPED = {
    "imports": "the server did not come up",
    "load": "the model was not loaded",
    "memory": "the server took too much memory",
    "time": "the server took too long to answer",
    "crash": "the server ended",
}
_ADVICE = {
    "load": "make the model smaller or raise gate.server.max_load_s",
    "memory": "make the model smaller or raise gate.server.max_memory_mb",
    "time": "make the model faster, or ask fewer gate.server.requests",
}


@dataclass(frozen=True)
class Limits:
    """The limits; `pipeline.config_gates.ServerGate` says what each is and its default."""

    max_load_s: float
    max_size_mb: float
    max_memory_mb: float
    max_p99_ms: float
    tolerance: float


@dataclass(frozen=True)
class Asked:
    """What came of all requests of one protocol.

    Attributes:
        protocol: `REST` or `gRPC`.
        count: Requests asked.
        distances: Distance of each answer from the expected one.
        errors: What was said instead of an answer.
        single_ms: Times of requests of one row, in milliseconds.
    """

    protocol: str
    count: int
    distances: tuple[float, ...]
    errors: tuple[str, ...]
    single_ms: tuple[float, ...]


def judge_scan(problems: Sequence[Problem]) -> list[Reason]:
    """One blocking reason for each problem that the scan found; one that passed for none."""
    advice = "look at where the model comes from; take the operation out of preprocessing or model"
    if not problems:
        return [Reason(Outcome.PASSED, "scan", "the graph holds allowed operations only")]
    return [
        Reason(Outcome.BLOCKED, "scan", f"{p.op} {p.why}", where=p.where, advice=advice)
        for p in problems
    ]


def judge_size(size_bytes: int, limits: Limits) -> Reason:
    """The model's size on disk."""
    return _limit("size", "size on disk", size_bytes / 1e6, limits.max_size_mb, "MB", "max_size_mb")


def judge_stop(why: str, detail: str, limits: Limits) -> Reason:
    """A server that was given up."""
    limit = {"load": limits.max_load_s, "memory": limits.max_memory_mb}.get(why)
    return Reason(
        Outcome.BLOCKED,
        f"server.{why}",
        f"{_STOPPED[why]}: {detail}",
        limit=limit,
        advice=_ADVICE.get(why, "the server gate's log has the server's own words"),
    )


def judge_run(
    load_s: float, peak_bytes: int, asked: Iterable[Asked], limits: Limits
) -> list[Reason]:
    """A server that answered to the end: its load, memory, answers and times."""
    reasons = [
        _limit("load", "load time", load_s, limits.max_load_s, "s", "max_load_s"),
        _limit(
            "memory",
            "resident memory",
            peak_bytes / 1e6,
            limits.max_memory_mb,
            "MB",
            "max_memory_mb",
        ),
    ]
    for group in asked:
        reasons += [_answers(group, limits), _times(group, limits)]
    return reasons


def judge_network(has_network: bool) -> Reason:
    """Whether the server was kept off the network."""
    if not has_network:
        return Reason(Outcome.PASSED, "network", "the server had no network but its loopback")
    return Reason(
        Outcome.WARNED,
        "network",
        "the server could reach the network: this system lets us make no network namespace",
        advice="run as root or allow user namespaces to have it kept off",
    )


def judge_files(has_files: bool) -> Reason:
    """Whether the server was kept off the files of others."""
    if not has_files:
        text = "the server could open no files but the candidate's and its own"
        return Reason(Outcome.PASSED, "files", text)
    return Reason(
        Outcome.WARNED,
        "files",
        "the server could open the files of the user it ran as: this system has no Landlock",
        advice="run on Linux 5.13 or newer with Landlock on to have it kept off",
    )


def verdict_of(reasons: Iterable[Reason]) -> Verdict:
    """The gate's verdict."""
    return Verdict.of(GATE, reasons)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least a share of the values does not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def _answers(group: Asked, limits: Limits) -> Reason:
    worst = max(group.distances, default=math.inf)
    wrong = sum(distance > limits.tolerance for distance in group.distances)
    kind = f"answers.{group.protocol.lower()}"
    if group.errors:
        said = "; ".join(sorted(set(group.errors))[:MAX_ERRORS])
        text = f"{len(group.errors)} of {group.count} {group.protocol} requests refused: {said}"
    elif not group.count:
        text = f"no golden request could be asked through {group.protocol}"
    elif wrong:
        how = f"by up to {worst:.3g}" if math.isfinite(worst) else "in shape, outputs or text"
        text = (
            f"{wrong} of {group.count} {group.protocol} answers differ from the model's own {how}"
        )
    else:
        text = (
            f"{group.count} {group.protocol} answers are the model's own, "
            f"to within {worst:.2g} (limit {limits.tolerance:g})"
        )
        return Reason(Outcome.PASSED, kind, text, measured=worst, limit=limits.tolerance)
    return Reason(
        Outcome.BLOCKED,
        kind,
        text,
        measured=worst if math.isfinite(worst) else None,
        limit=limits.tolerance,
        advice="serving_default and serving_tf_example have to predict the same for the same row",
    )


def _times(group: Asked, limits: Limits) -> Reason:
    kind = f"latency.{group.protocol.lower()}"
    if not group.single_ms:
        return Reason(Outcome.WARNED, kind, f"no {group.protocol} request of one row was answered")
    p50, p95, p99 = (percentile(group.single_ms, share) for share in (0.50, 0.95, 0.99))
    text = (
        f"{group.protocol} latency of one row: p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f} ms, "
        f"p99 may be at most {limits.max_p99_ms:g} ms"
    )
    is_ok = p99 <= limits.max_p99_ms
    advice = "make the model faster, or raise gate.server.max_p99_ms"
    return Reason(
        Outcome.PASSED if is_ok else Outcome.BLOCKED,
        kind,
        text,
        measured=p99,
        limit=limits.max_p99_ms,
        advice="" if is_ok else advice,
    )


def _limit(kind: str, what: str, value: float, limit: float, unit: str, key: str) -> Reason:
    text = f"{what} {value:.3g} {unit}, may be at most {limit:g} {unit}"
    if value <= limit:
        return Reason(Outcome.PASSED, kind, text, measured=value, limit=limit)
    advice = f"make the model smaller, or raise gate.server.{key}"
    return Reason(Outcome.BLOCKED, kind, text, measured=value, limit=limit, advice=advice)
