"""Whether to run again, and over what: a pure function of what is known and the time.

Reasons to run (`ordain.retraining.triggers`): there is no model yet; a new span is whole; late
data; the source or the schema changed since the served model; the newest span has drifted; the
served model is old; somebody forces it.

What holds a run back (`ordain.retraining.blockers`): a delivery that is not whole; a span that
could not be read, or that the data gate blocked, and has not changed since; the same run having
failed too often; a cool-down; a budget of runs. Forcing overrides all of it but the first.
"""

from __future__ import annotations

from collections.abc import Sequence

from ordain.config.schedule import Retrain
from ordain.retraining.blockers import held_by_clock, held_by_content
from ordain.retraining.triggers import FRESH_KINDS, find_triggers
from ordain.retraining.types import Action, Decision, Effect, Facts, Reason, ordered
from ordain.retraining.window_state import Situation


def decide(facts: Facts, policy: Retrain, now: float, is_forced: bool = False) -> Decision:
    """Decides whether to run, and over what.

    Args:
        facts: What is known.
        policy: What counts as a reason.
        now: The time, in seconds since 1970.
        is_forced: Whether to run whatever speaks against it.
    """
    situation = Situation(facts, policy.complete, now)
    triggers = list(find_triggers(situation, policy, is_forced))
    reasons = [*triggers, *_unfinished_deliveries(situation)]
    wanted = {reason.kind for reason in triggers if reason.effect is Effect.RUN}
    windows: list[tuple[int, ...]] = []
    if wanted:
        windows, holds = _choose(situation, policy, wanted, is_forced)
        reasons += holds
        if windows and not is_forced:
            windows, holds = held_by_clock(situation, policy, windows)
            reasons += holds
    if windows:
        action = Action.RUN
    elif wanted or any(reason.effect is Effect.HOLD for reason in reasons):
        action = Action.WAIT
    else:
        action = Action.NOTHING
        reasons.append(_nothing_new(situation))
    is_same = bool(windows) and all(situation.tried(window) for window in windows)
    return Decision(action, ordered(reasons), tuple(windows), is_same and wanted <= FRESH_KINDS)


def _choose(
    situation: Situation, policy: Retrain, wanted: set[str], is_forced: bool
) -> tuple[list[tuple[int, ...]], list[Reason]]:
    """The windows to run, and what holds back those that are not among them."""
    windows, holds = [], []
    if "new_span" in wanted and policy.catch_up == "each":
        for end in situation.new:
            window = situation.window(end)
            hold = held_by_content(situation, policy, window, is_forced)
            if hold is None:
                windows.append(window)
            else:
                holds.append(hold)
    if windows:
        return windows, holds
    for end in reversed(_ends(situation, wanted)):
        window = situation.window(end)
        hold = held_by_content(situation, policy, window, is_forced)
        if hold is None:
            return [window], holds
        holds.append(hold)
    return [], holds


def _ends(situation: Situation, wanted: set[str]) -> Sequence[int]:
    """Last spans of the windows that would answer the triggers, oldest first.

    Never older than what was taken: a model of older data would replace one of newer.
    """
    if wanted <= {"new_span", "first"}:
        return situation.new
    newest = situation.newest_taken
    old = [span for span in situation.whole if newest is not None and span <= newest]
    return [*old[-1:], *situation.new]


def _unfinished_deliveries(situation: Situation) -> list[Reason]:
    """Deliveries in progress that a run will take: the newest ones, or of the newest window."""
    spans = [delivery.span for delivery in situation.facts.deliveries]
    window = situation.window(spans[-1]) if spans else ()
    newest = situation.newest_taken
    reasons = []
    for delivery in situation.facts.deliveries:
        is_wanted = delivery.span in window or newest is None or delivery.span > newest
        what = situation.missing(delivery)
        if what and is_wanted:
            text = f"{situation.name(delivery.span)} is not whole yet: {what}"
            reasons.append(Reason(Effect.HOLD, "incomplete", text, delivery.span))
    return reasons


def _nothing_new(situation: Situation) -> Reason:
    if not situation.facts.deliveries:
        return Reason(Effect.NOTE, "no_data", "there is no data yet")
    newest = situation.newest_taken
    taken = "nothing was taken yet" if newest is None else f"{situation.name(newest)} was taken"
    return Reason(Effect.NOTE, "nothing_new", f"nothing new: {taken}, and nothing changed since")
