"""Rules of the server gate: measurements against limits, as reasons of a verdict.

Pure functions without servers or TensorFlow.
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
#: Most errors that a verdict quotes; more are counted.
MAX_ERRORS = 3
_STOPPED = {
    "imports": "the server did not start",
    "load": "the model was not loaded",
    "memory": "the server used too much memory",
    "time": "the server took too long to respond",
    "crash": "the server ended",
}
_ADVICE = {
    "load": "make the model smaller or raise gate.server.max_load_s",
    "memory": "make the model smaller or raise gate.server.max_memory_mb",
    "time": "make the model faster, or lower gate.server.requests",
}


@dataclass(frozen=True)
class Limits:
    """The limits of `ordain.config.gates.ServerGate`, which documents them."""

    max_load_s: float
    max_size_mb: float
    max_memory_mb: float
    max_p99_ms: float
    tolerance: float


@dataclass(frozen=True)
class ProtocolResult:
    """Results of all requests of one protocol.

    Attributes:
        protocol: `REST` or `gRPC`.
        count: Number of requests.
        distances: Distance of each response from the expected one.
        errors: Errors instead of responses.
        series: Series of requests of one row; a second one if the first was too slow.
    """

    protocol: str
    count: int
    distances: tuple[float, ...]
    errors: tuple[str, ...]
    series: tuple[Series, ...]


def judge_scan(problems: Sequence[Problem]) -> list[Reason]:
    """A blocking reason for each problem of the scan, or one that passed."""
    advice = "check where the model comes from; remove the operation from preprocessing or model"
    if not problems:
        return [Reason(Outcome.PASSED, "scan", "the graph has only allowed operations")]
    return [
        Reason(Outcome.BLOCKED, "scan", f"{p.op} {p.why}", where=p.where, advice=advice)
        for p in problems
    ]


def judge_unservable(why: Sequence[str]) -> list[Reason]:
    """A blocking reason for each cause why no server can serve the model."""
    advice = "check what run_fn exports"
    return [
        Reason(Outcome.BLOCKED, "server.load", f"{_STOPPED['load']}: {text}", advice=advice)
        for text in why
    ]


def judge_size(size_bytes: int, limits: Limits) -> Reason:
    """The model's size on disk."""
    return _limit("size", "size on disk", size_bytes / 1e6, limits.max_size_mb, "MB", "max_size_mb")


def judge_stop(why: str, detail: str, limits: Limits) -> Reason:
    """Reason for a server that was stopped."""
    limit = {"load": limits.max_load_s, "memory": limits.max_memory_mb}.get(why)
    return Reason(
        Outcome.BLOCKED,
        f"server.{why}",
        f"{_STOPPED[why]}: {detail}",
        limit=limit,
        advice=_ADVICE.get(why, "see the server's output in the server gate's log"),
    )


def judge_run(
    load_s: float, peak_bytes: int, results: Iterable[ProtocolResult], limits: Limits
) -> list[Reason]:
    """Reasons for a server that responded to the end: load time, memory, responses, latency."""
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
    for group in results:
        reasons += [_answers(group, limits), _times(group, limits)]
    return reasons


def judge_signatures(
    breaks: Sequence[Break], compared_with: str, allowed: Mapping[str, str]
) -> list[Reason]:
    """Reasons for changes of signatures that break clients of the stable version.

    Args:
        breaks: The breaking changes.
        compared_with: The version, such as `version 3 (stable)`; empty if there is none.
        allowed: Reason by name of each intended change.
    """
    if not compared_with:
        text = "no version is published yet: no clients can break"
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
                advice="remove it: it would allow a later change of that name",
            )
        )
    if not breaks:
        text = f"signatures are compatible with {compared_with}"
        reasons.append(Reason(Outcome.PASSED, "signatures", text))
    return reasons


def judge_network(has_network: bool) -> Reason:
    """Reason for the server's isolation from the network."""
    if not has_network:
        return Reason(Outcome.PASSED, "network", "the server had no network but its loopback")
    return Reason(
        Outcome.WARNED,
        "network",
        "the server could reach the network: this system allows no network namespace",
        advice="run as root or allow user namespaces to isolate it",
    )


def judge_files(has_files: bool) -> Reason:
    """Reason for the server's isolation from other files."""
    if not has_files:
        text = "the server could open only the candidate's files and its own"
        return Reason(Outcome.PASSED, "files", text)
    return Reason(
        Outcome.WARNED,
        "files",
        "the server could open the files of the user it ran as: this system has no Landlock",
        advice="run on Linux 5.13 or newer with Landlock to isolate it",
    )


def verdict_of(reasons: Iterable[Reason]) -> Verdict:
    """The gate's verdict."""
    return Verdict.of(GATE, reasons)


def _answers(group: ProtocolResult, limits: Limits) -> Reason:
    worst = max(group.distances, default=math.inf)
    wrong = sum(distance > limits.tolerance for distance in group.distances)
    kind = f"answers.{group.protocol.lower()}"
    if group.errors:
        quoted = "; ".join(sorted(set(group.errors))[:MAX_ERRORS])
        text = f"{len(group.errors)} of {group.count} {group.protocol} requests failed: {quoted}"
    elif not group.count:
        text = f"no golden request could be sent over {group.protocol}"
    elif wrong:
        how = f"by up to {worst:.3g}" if math.isfinite(worst) else "in shape, outputs or text"
        text = (
            f"{wrong} of {group.count} {group.protocol} responses differ from the model's own {how}"
        )
    else:
        text = (
            f"{group.count} {group.protocol} responses equal the model's own "
            f"to within {worst:.2g} (limit {limits.tolerance:g})"
        )
        return Reason(Outcome.PASSED, kind, text, measured=worst, limit=limits.tolerance)
    return Reason(
        Outcome.BLOCKED,
        kind,
        text,
        measured=worst if math.isfinite(worst) else None,
        limit=limits.tolerance,
        advice="serving_default and serving_tf_example must predict the same for the same row",
    )


def _times(group: ProtocolResult, limits: Limits) -> Reason:
    """Reason for the latency of one protocol: blocked only if every series was too slow."""
    kind = f"latency.{group.protocol.lower()}"
    if not group.series:
        return Reason(Outcome.WARNED, kind, f"no {group.protocol} request of one row succeeded")
    *before, last = group.series
    text = f"{group.protocol} latency of one row: {last}"
    if before:
        text += f" in a second series, after {before[0]}"
    text += f"; p99 may be at most {limits.max_p99_ms:g} ms"
    outcome, advice = Outcome.PASSED, ""
    if last.is_over:
        outcome = Outcome.BLOCKED
        advice = "make the model faster, or raise gate.server.max_p99_ms"
    elif not last.is_whole:
        outcome = Outcome.WARNED
        advice = f"p99 needs {SAMPLES} requests, and there was no time for more than these"
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
