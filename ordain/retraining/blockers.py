"""Blockers, the reasons to postpone a run: per window (data) and global (cool-down, budget)."""

from __future__ import annotations

from collections.abc import Iterator

from ordain.config.schedule import Retrain
from ordain.retraining.types import Attempt, Effect, Reason, State
from ordain.retraining.window_state import Situation

DAY_S = 86_400.0


def content_blocker(
    situation: Situation, policy: Retrain, window: tuple[int, ...], is_forced: bool
) -> Reason | None:
    """Returns why a window cannot run now or would end the same way again; None if it may run.

    The first rule that applies: a span is incomplete; a span could not be read; the data gate
    blocked the window or a span in it; the same run failed `attempts` times in a row. All but the
    first apply until the files change, or the settings that they are checked against.
    """
    for span in window:
        if what := situation.missing(situation.delivery(span)):
            text = f"{situation.name(span)} is incomplete: {what}"
            return Reason(Effect.BLOCKER, "incomplete", text, span)
    if is_forced:
        return None
    return (
        _unreadable(situation, window)
        or _blocked(situation, window)
        or _failed_before(situation, policy, window)
    )


def clock_blockers(
    situation: Situation, policy: Retrain, windows: list[tuple[int, ...]]
) -> tuple[list[tuple[int, ...]], list[Reason]]:
    """Returns the windows that may run now, and the blockers of the others."""
    attempts, now = situation.facts.attempts, situation.now
    reasons = []
    if windows and attempts and policy.cool_down_minutes:
        last = max(attempts, key=lambda attempt: attempt.ended)
        left_s = last.ended + policy.cool_down_minutes * 60 - now
        rule = f"retrain.cool_down_minutes is {policy.cool_down_minutes:g}"
        if left_s > 0:
            text = f"run {last.run_id} ended {_ago(now - last.ended)} ago; {rule}"
            reasons.append(Reason(Effect.BLOCKER, "cool_down", text))
            windows = []
        elif len(windows) > 1:
            text = f"{len(windows) - 1} more run(s) are due, each after a cool-down; {rule}"
            reasons.append(Reason(Effect.NOTE, "cool_down", text))
            windows = windows[:1]
    if windows and policy.runs_per_day is not None:
        done = sum(0 <= now - attempt.started < DAY_S for attempt in attempts)
        left = max(0, policy.runs_per_day - done)
        if left < len(windows):
            text = (
                f"{done} run(s) started in the last 24 hours; retrain.runs_per_day is "
                f"{policy.runs_per_day}, {len(windows) - left} run(s) have to wait"
            )
            reasons.append(Reason(Effect.BLOCKER, "budget", text))
            windows = windows[:left]
    return windows, reasons


def _unreadable(situation: Situation, window: tuple[int, ...]) -> Reason | None:
    seen: set[int] = set()
    for attempt in situation.facts.attempts:
        if attempt.unreadable is not None:
            span, began, settings = attempt.unreadable
            is_same = span in window and settings == situation.facts.ingest
            if is_same and span not in seen and situation.delivery(span).changed <= began:
                text = (
                    f"run {attempt.run_id} could not read {situation.name(span)}, "
                    "which has not changed since"
                )
                return Reason(Effect.BLOCKER, "unreadable", text, span)
            seen.add(span)
        # A later run has read these.
        seen.update(_unchanged(situation, attempt, window))
    return None


def _blocked(situation: Situation, window: tuple[int, ...]) -> Reason | None:
    cleared: set[int] = set()
    wanted = situation.fingerprints(window)
    for attempt in situation.facts.attempts:
        same = _unchanged(situation, attempt, window)
        if attempt.source is not None:  # it got past the gate
            if attempt.spans == wanted:
                return None
            cleared |= same
            continue
        is_same_policy = (
            attempt.gate == situation.facts.gate and attempt.schema == situation.facts.schema
        )
        if attempt.state is not State.BLOCKED or not is_same_policy:
            continue
        bad = [span for span in attempt.bad if span in same and span not in cleared]
        if bad:
            text = (
                f"the data gate blocked run {attempt.run_id} for {situation.name(*bad)}, "
                f"which {'have' if len(bad) > 1 else 'has'} not changed since"
            )
            return Reason(Effect.BLOCKER, "blocked", text, bad[-1])
        if attempt.spans == wanted:
            text = (
                f"the data gate blocked run {attempt.run_id} over {situation.name(*window)}, "
                "and nothing has changed since"
            )
            return Reason(Effect.BLOCKER, "blocked", text, window[-1])
    return None


def _failed_before(situation: Situation, policy: Retrain, window: tuple[int, ...]) -> Reason | None:
    failed = list(_failures(situation, window))
    if len(failed) < policy.attempts:
        return None
    text = (
        f"{len(failed)} runs in a row failed on the same data, source and schema, the last was "
        f"{failed[0].run_id}; retrain.attempts is {policy.attempts}"
    )
    return Reason(Effect.BLOCKER, "failed", text, window[-1])


def _failures(situation: Situation, window: tuple[int, ...]) -> Iterator[Attempt]:
    """Yields the newest runs for as long as they failed on the files of this window."""
    wanted = situation.fingerprints(window)
    facts = situation.facts
    for attempt in facts.attempts:
        if attempt.state is State.UNFINISHED:  # killed, or a partial run
            continue
        is_same = (
            attempt.state is State.FAILED
            and attempt.spans.items() <= wanted.items()
            and attempt.source in (None, facts.source)
            and attempt.schema in (None, facts.schema)
        )
        if not is_same:
            return
        yield attempt


def _unchanged(situation: Situation, attempt: Attempt, window: tuple[int, ...]) -> set[int]:
    """Returns the spans of the window whose files are unchanged since an attempt."""
    wanted = situation.fingerprints(window)
    return {span for span, mark in attempt.spans.items() if wanted.get(span) == mark}


def _ago(seconds: float) -> str:
    minutes = max(0.0, seconds) / 60
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
