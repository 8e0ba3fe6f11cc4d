"""Retraining decision: a pure function of facts, policy and time.

Triggers (`ordain.retraining.triggers`): there is no model yet; a new span is complete; late data;
the source or the schema changed since the served model; the newest span has drifted; the served
model is old; `--force`.

Blockers (`ordain.retraining.blockers`): a span is incomplete; a span could not be read or was
blocked by the data gate, and has not changed since; the same run failed too often; a cool-down; a
budget of runs. Forcing overrides all but the first.
"""

from __future__ import annotations

from collections.abc import Sequence

from ordain.config.schedule import Retrain
from ordain.retraining.blockers import clock_blockers, content_blocker
from ordain.retraining.triggers import FRESH_KINDS, find_triggers
from ordain.retraining.types import Action, Decision, Effect, Facts, Reason, ordered
from ordain.retraining.window_state import Situation


def decide(facts: Facts, policy: Retrain, now: float, is_forced: bool = False) -> Decision:
    """Decides whether to run, and over what.

    Args:
        facts: The facts.
        policy: The project's `retrain` section.
        now: The time, in seconds since 1970.
        is_forced: Whether to ignore all blockers but incomplete spans.
    """
    situation = Situation(facts, policy.complete, now)
    triggers = list(find_triggers(situation, policy, is_forced))
    reasons = [*triggers, *_incomplete_spans(situation)]
    wanted = {reason.kind for reason in triggers if reason.effect is Effect.TRIGGER}
    windows: list[tuple[int, ...]] = []
    if wanted:
        windows, blockers = _choose(situation, policy, wanted, is_forced)
        reasons += blockers
        if windows and not is_forced:
            windows, blockers = clock_blockers(situation, policy, windows)
            reasons += blockers
    if windows:
        action = Action.RUN
    elif wanted or any(reason.effect is Effect.BLOCKER for reason in reasons):
        action = Action.WAIT
    else:
        action = Action.NOTHING
        reasons.append(_nothing_new(situation))
    is_same = bool(windows) and all(situation.tried(window) for window in windows)
    return Decision(action, ordered(reasons), tuple(windows), is_same and wanted <= FRESH_KINDS)


def _choose(
    situation: Situation, policy: Retrain, wanted: set[str], is_forced: bool
) -> tuple[list[tuple[int, ...]], list[Reason]]:
    """Returns the windows to run, and the blockers of the others."""
    windows, blockers = [], []
    if "new_span" in wanted and policy.catch_up == "each":
        for end in situation.new:
            window = situation.window(end)
            blocker = content_blocker(situation, policy, window, is_forced)
            if blocker is None:
                windows.append(window)
            else:
                blockers.append(blocker)
    if windows:
        return windows, blockers
    for end in reversed(_ends(situation, wanted)):
        window = situation.window(end)
        blocker = content_blocker(situation, policy, window, is_forced)
        if blocker is None:
            return [window], blockers
        blockers.append(blocker)
    return [], blockers


def _ends(situation: Situation, wanted: set[str]) -> Sequence[int]:
    """Returns the last spans of the windows that the triggers ask for, oldest first.

    Never older than the newest used span: a model of older data would replace one of newer data.
    """
    if wanted <= {"new_span", "first"}:
        return situation.new
    newest = situation.newest_used
    old = [span for span in situation.complete if newest is not None and span <= newest]
    return [*old[-1:], *situation.new]


def _incomplete_spans(situation: Situation) -> list[Reason]:
    """Returns a blocker for each incomplete span that is new or in the newest window."""
    spans = [delivery.span for delivery in situation.facts.deliveries]
    window = situation.window(spans[-1]) if spans else ()
    newest = situation.newest_used
    reasons = []
    for delivery in situation.facts.deliveries:
        is_relevant = delivery.span in window or newest is None or delivery.span > newest
        what = situation.missing(delivery)
        if what and is_relevant:
            text = f"{situation.name(delivery.span)} is incomplete: {what}"
            reasons.append(Reason(Effect.BLOCKER, "incomplete", text, delivery.span))
    return reasons


def _nothing_new(situation: Situation) -> Reason:
    if not situation.facts.deliveries:
        return Reason(Effect.NOTE, "no_data", "there is no data yet")
    newest = situation.newest_used
    used = (
        "no span was used yet" if newest is None else f"{situation.name(newest)} was already used"
    )
    return Reason(Effect.NOTE, "nothing_new", f"nothing new: {used}, and nothing has changed since")
