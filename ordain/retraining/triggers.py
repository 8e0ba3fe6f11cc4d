"""Triggers of a run: one rule and one sentence each."""

from __future__ import annotations

from collections.abc import Iterator

from ordain.config.schedule import Retrain
from ordain.retraining.blockers import DAY_S
from ordain.retraining.types import Effect, Reason, Served
from ordain.retraining.window_state import Situation

#: Triggers for which a run on unchanged inputs is of use only if it trains anew.
FRESH_KINDS = frozenset({"age", "forced"})


def find_triggers(situation: Situation, policy: Retrain, is_forced: bool) -> Iterator[Reason]:
    """Yields the triggers of a run, and notes on what is close to one."""
    if is_forced:
        yield Reason(Effect.TRIGGER, "forced", "--force")
    if situation.newest_used is None:
        if situation.complete:
            text = f"there is no model yet, and {situation.name(*situation.complete)} can be used"
            yield Reason(Effect.TRIGGER, "first", text)
        return
    yield from _new_spans(situation, policy)
    if policy.late_data:
        yield from _late_data(situation)
    yield from _changes(situation, policy)
    if situation.facts.served is not None:
        yield from _drift(situation, policy, situation.facts.served)
        yield from _age(situation, policy, situation.facts.served)


def _new_spans(situation: Situation, policy: Retrain) -> Iterator[Reason]:
    new = situation.new
    if not new:
        return
    are = "are" if len(new) > 1 else "is"
    if policy.new_spans is None:
        text = f"{situation.name(*new)} {are} new; retrain.new_spans is null"
        yield Reason(Effect.NOTE, "new_span", text, new[-1])
    elif len(new) < policy.new_spans:
        text = f"{situation.name(*new)} {are} new; retrain.new_spans is {policy.new_spans}"
        yield Reason(Effect.NOTE, "new_span", text, new[-1])
    else:
        yield Reason(Effect.TRIGGER, "new_span", f"{situation.name(*new)} {are} new", new[-1])


def _late_data(situation: Situation) -> Iterator[Reason]:
    """Yields spans that arrived, or arrived again, after a newer one was used."""
    newest = situation.newest_used
    old = [s for s in situation.complete if newest is not None and s <= newest]
    if not old:
        return
    window = situation.window(situation.complete[-1])
    for span in old:
        if not situation.is_changed(span):
            continue
        version = situation.delivery(span).version
        again = "arrived again" if version is None else f"arrived again as version {version}"
        if span in window:
            how = (
                again if span in situation.used else f"arrived after {situation.name(newest or 0)}"
            )
            text = f"{situation.name(span)} {how}, and is in the newest window"
            yield Reason(Effect.TRIGGER, "late_data", text, span)
        elif span in situation.used:
            text = f"{situation.name(span)} {again}, and is older than the newest window"
            yield Reason(Effect.NOTE, "late_data", text, span)


def _changes(situation: Situation, policy: Retrain) -> Iterator[Reason]:
    facts = situation.facts
    if facts.served is not None:
        name, source, schema = facts.served.name, facts.served.source, facts.served.schema
    else:
        last = situation.concluded[0]
        name, source, schema = f"run {last.run_id}", last.source or "", last.schema or ""
    changed = []
    if "source" in policy.changes and source and source != facts.source:
        changed.append(("source", f"the project's source has changed since {name}"))
    # While no schema is frozen, each run infers one, and they may differ.
    if "schema" in policy.changes and facts.schema and schema != facts.schema:
        changed.append(("schema", f"the schema has changed since {name}"))
    for kind, text in changed:
        if tried := _tried_already(situation):
            yield Reason(Effect.NOTE, kind, f"{text}; {tried}")
        else:
            yield Reason(Effect.TRIGGER, kind, text)


def _drift(situation: Situation, policy: Retrain, served: Served) -> Iterator[Reason]:
    """Yields the drift of the newest span, as the data gate measured it in a run."""
    if policy.drift is None or not situation.complete:
        return
    newest = situation.complete[-1]
    if newest in served.spans:
        return
    mark = situation.delivery(newest).fingerprint
    for attempt in situation.facts.attempts:
        found = [d for d in attempt.distances if d.span == newest]
        if not found or attempt.spans.get(newest) != mark:
            continue
        before = max((s for s in attempt.spans if s < newest), default=None)
        if before not in served.spans:
            text = (
                f"the drift of {situation.name(newest)} from the data of {served.name} is unknown: "
                f"run {attempt.run_id} compared it with another span"
            )
            yield Reason(Effect.NOTE, "drift", text, newest)
            return
        worst = max(found, key=lambda distance: distance.measured)
        if worst.measured > policy.drift:
            measured = worst.text.partition(", may be")[0]
            text = (
                f"{situation.name(newest)} has drifted: {worst.feature}, {measured}; "
                f"retrain.drift is {policy.drift:g}"
            )
            tried = _tried_already(situation)
            effect = Effect.NOTE if tried else Effect.TRIGGER
            yield Reason(effect, "drift", f"{text}; {tried}" if tried else text, newest)
        return
    text = (
        f"the drift of {situation.name(newest)} is unknown: no run has measured it "
        "(ordain run PROJECT --to DataGate does)"
    )
    yield Reason(Effect.NOTE, "drift", text, newest)


def _age(situation: Situation, policy: Retrain, served: Served) -> Iterator[Reason]:
    if policy.max_age_days is None:
        return
    age_days = (situation.now - served.created) / DAY_S
    if age_days <= policy.max_age_days:
        return
    text = (
        f"{served.name} is {age_days:.1f} days old; retrain.max_age_days is {policy.max_age_days:g}"
    )
    last = max(situation.concluded, key=lambda attempt: attempt.ended, default=None)
    if last is not None and (situation.now - last.ended) / DAY_S <= policy.max_age_days:
        tried = f"run {last.run_id} tried to replace it: {_result(last.state)}"
        yield Reason(Effect.NOTE, "age", f"{text}; {tried}")
    else:
        yield Reason(Effect.TRIGGER, "age", text)


def _tried_already(situation: Situation) -> str:
    """Describes the run that tried the newest window with this source and schema, or empty."""
    if not situation.complete:
        return ""
    attempt = situation.tried(situation.window(situation.complete[-1]))
    return f"run {attempt.run_id} tried it: {_result(attempt.state)}" if attempt else ""


def _result(state: str) -> str:
    return {
        "published": "its model was published",
        "not_blessed": "its model was not blessed",
        "refused": "the server gate refused its model",
    }.get(state, state)
