"""What the server gate holds against its limits, as reasons of a verdict.

Pure: takes what was measured, and knows neither servers nor TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ordain.serving.registry.compatibility import Break
from ordain.serving.sandbox.latency import SAMPLES, Series, percentile
from ordain.serving.scan.scan import Problem
from ordain.verdict import Outcome, Reason, Verdict

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
    """The limits; `ordain.config.gates.ServerGate` says what each is and its default."""

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
        looks: Series of requests of one row; a second one where the first was too slow.
    """

    protocol: str
    count: int
    distances: tuple[float, ...]
    errors: tuple[str, ...]
    looks: tuple[Series, ...]


def judge_scan(problems: Sequence[Problem]) -> list[Reason]:
    """One blocking reason for each problem that the scan found; one that passed for none."""
    advice = "look at where the model comes from; take the operation out of preprocessing or model"
    if not problems:
        return [Reason(Outcome.PASSED, "scan", "the graph holds allowed operations only")]
    return [
        Reason(Outcome.BLOCKED, "scan", f"{p.op} {p.why}", where=p.where, advice=advice)
        for p in problems
    ]


def judge_unservable(why: Sequence[str]) -> list[Reason]:
    """One blocking reason for each one that no server could serve the model for."""
    advice = "look at what run_fn exports"
    return [
        Reason(Outcome.BLOCKED, "server.load", f"{_STOPPED['load']}: {text}", advice=advice)
        for text in why
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


def judge_signatures(
    breaks: Sequence[Break], compared_with: str, allowed: Mapping[str, str]
) -> list[Reason]:
    """Changes of the signatures that clients of the serving version would not survive.

    Args:
        breaks: What was found.
        compared_with: The version, such as `version 3 (stable)`; empty if none serves yet.
        allowed: Reason by the name of a change that the project wants.
    """
    if not compared_with:
        text = "no version serves yet: there are no clients that a signature could break"
        return [Reason(Outcome.PASSED, "signatures", text)]
    reasons = []
    for found in breaks:
        why = allowed.get(found.name)
        text = f"{found.text}; clients of {compared_with} "
        text += f"would fail. Allowed: {why}" if why else "would fail"
        outcome = Outcome.BLOCKED if why is None else Outcome.WARNED
        advice = (
            f"keep it as it is, or allow it: gate.server.allow_changes: {{{found.name}: reason}}"
            if why is None
            else ""
        )
        reasons.append(Reason(outcome, "signatures", text, where=found.name, advice=advice))
    names = {found.name for found in breaks}
    for name in sorted(allowed.keys() - names):
        reasons.append(
            Reason(
                Outcome.WARNED,
                "signatures",
                f"gate.server.allow_changes names {name}, which breaks no client of "
                f"{compared_with}",
                where=name,
                advice="take it out: it would let a later change of that name pass",
            )
        )
    if not breaks:
        text = f"signatures serve the clients of {compared_with}"
        reasons.append(Reason(Outcome.PASSED, "signatures", text))
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
    """Reason for whether the server could open files of others."""
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
    """The times of one protocol: refused only if every look was too slow."""
    kind = f"latency.{group.protocol.lower()}"
    if not group.looks:
        return Reason(Outcome.WARNED, kind, f"no {group.protocol} request of one row was answered")
    *before, last = group.looks
    text = f"{group.protocol} latency of one row: {last}"
    if before:
        text += f" in a second look, after {before[0]}"
    text += f"; p99 may be at most {limits.max_p99_ms:g} ms"
    outcome, advice = Outcome.PASSED, ""
    if last.is_over:
        outcome = Outcome.BLOCKED
        advice = "make the model faster, or raise gate.server.max_p99_ms"
    elif not last.is_whole:
        outcome = Outcome.WARNED
        advice = f"p99 takes {SAMPLES} requests, and there was no time for more than these"
    return Reason(
        outcome,
        kind,
        text,
        measured=percentile(last.times_ms, last.share),
        limit=limits.max_p99_ms,
        advice=advice,
    )


def _limit(kind: str, what: str, value: float, limit: float, unit: str, key: str) -> Reason:
    text = f"{what} {value:.3g} {unit}, may be at most {limit:g} {unit}"
    if value <= limit:
        return Reason(Outcome.PASSED, kind, text, measured=value, limit=limit)
    advice = f"make the model smaller, or raise gate.server.{key}"
    return Reason(Outcome.BLOCKED, kind, text, measured=value, limit=limit, advice=advice)
