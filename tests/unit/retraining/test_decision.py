"""The retraining decision, case by case: a pure function, so nothing is run here."""

import dataclasses
from typing import Any

import pytest

from ordain.config.schedule import Retrain
from ordain.project.span_status import Delivery
from ordain.retraining.decision import decide
from ordain.retraining.types import (
    Action,
    Attempt,
    Decision,
    Distance,
    Effect,
    Facts,
    Served,
    State,
)

NOW = 1_800_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
GATE = {"drift": {"policy": "warn"}, "is_curated": True}
INGEST = {"label": "y"}


def delivery(
    span: int,
    mark: str = "v1",
    age: float = 10 * DAY,
    missing: str = "",
    version: int | None = None,
) -> Delivery:
    """A span whose files changed `age` seconds ago."""
    at = NOW - age
    return Delivery(span, version, f"{span}-{mark}", at, at, missing)


def attempt(*spans: int, state: State = State.PUBLISHED, ago: float = 2 * DAY, **changes: Any):
    """A run over spans as `delivery` makes them, that ended `ago` seconds ago."""
    told = {
        "run_id": f"run-{'-'.join(map(str, spans))}",
        "started": NOW - ago - 5 * MINUTE,
        "ended": NOW - ago,
        "state": state,
        "spans": {span: f"{span}-v1" for span in spans},
        "schema": "schema-1",
        "source": None if state in (State.BLOCKED, State.UNREADABLE) else "source-1",
        "gate": GATE,
    }
    return Attempt(**{**told, **changes})


def served(*spans: int, age: float = 2 * DAY, **changes: Any) -> Served:
    told = {"name": "version 1", "created": NOW - age, "spans": spans}
    return Served(**{**told, "source": "source-1", "schema": "schema-1", **changes})


def facts(*deliveries: Delivery | int, **changes: Any) -> Facts:
    given = tuple(d if isinstance(d, Delivery) else delivery(d) for d in deliveries)
    told = {"source": "source-1", "schema": "schema-1", "gate": GATE, "ingest": INGEST, "window": 2}
    return Facts(given, **{**told, **changes})


#: Spans 1 and 2 were used, and the model of them is served.
USED = {"attempts": (attempt(1, 2),), "served": served(1, 2)}
#: The same, and then the data gate blocked span 3.
BLOCKED = {
    "attempts": (attempt(2, 3, state=State.BLOCKED, ago=DAY, bad=(3,)), attempt(1, 2)),
    "served": served(1, 2),
}
#: The same, and then span 3 could not be read.
UNREADABLE = {
    "attempts": (
        attempt(
            2, state=State.UNREADABLE, ago=DAY, schema=None, gate=None,
            unreadable=(3, NOW - DAY, INGEST),
        ),
        attempt(1, 2),
    ),
    "served": served(1, 2),
}  # fmt: skip
DRIFTED = (Distance(3, "x", "L-infinity distance to span 2: 0.500, may be at most 0.3", 0.5),)
#: Span 3 was measured and no model made of it.
MEASURED = {
    "attempts": (
        attempt(2, 3, state=State.UNFINISHED, ago=HOUR, source=None, distances=DRIFTED),
        attempt(1, 2),
    ),
    "served": served(1, 2),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """Facts and policy, and what is to come of them.

    `kinds` are the kinds of the reasons by effect; a kind that is not named is not to be there.
    """

    facts: Facts
    action: str
    windows: list[tuple[int, ...]] = dataclasses.field(default_factory=list)
    trigger: set[str] = dataclasses.field(default_factory=set)
    blocker: set[str] = dataclasses.field(default_factory=set)
    note: set[str] = dataclasses.field(default_factory=set)
    policy: dict[str, Any] = dataclasses.field(default_factory=dict)
    is_forced: bool = False
    is_fresh: bool = False
    says: str = ""


CASES = {
    # Nothing to do.
    "no data yet": Case(facts(), "nothing", note={"no_data"}),
    "nothing new": Case(
        facts(1, 2, **USED), "nothing", note={"nothing_new"}, says="span 2 was already used"
    ),
    "not blessed is used too": Case(
        facts(1, 2, attempts=(attempt(1, 2, state=State.NOT_BLESSED),)),
        "nothing",
        note={"nothing_new"},
    ),
    "refused by the server gate is used too": Case(
        facts(1, 2, attempts=(attempt(1, 2, state=State.REFUSED),)),
        "nothing",
        note={"nothing_new"},
    ),
    # The first model.
    "the first model is made of the newest window": Case(
        facts(1, 2, 3), "run", [(2, 3)], trigger={"first"}
    ),
    "also where spans are caught up one by one": Case(
        facts(1, 2, 3), "run", [(2, 3)], trigger={"first"}, policy={"catch_up": "each"}
    ),
    "of fewer spans than the window, if there are no more": Case(
        facts(1), "run", [(1,)], trigger={"first"}
    ),
    "of what is complete": Case(
        facts(1, 2, delivery(3, missing="there is no _SUCCESS")),
        "run",
        [(1, 2)],
        trigger={"first"},
        blocker={"incomplete"},
    ),
    "of what is not blocked": Case(
        facts(1, 2, 3, attempts=(attempt(2, 3, state=State.BLOCKED, bad=(3,)),)),
        "run",
        [(1, 2)],
        trigger={"first"},
        blocker={"blocked"},
    ),
    # New spans.
    "a new span": Case(
        facts(1, 2, 3, **USED), "run", [(2, 3)], trigger={"new_span"}, says="span 3 is new"
    ),
    "gaps between spans are none": Case(
        facts(1, 2, 9, **USED), "run", [(2, 9)], trigger={"new_span"}
    ),
    "a span that a killed run began with is still new": Case(
        facts(1, 2, 3, attempts=(attempt(2, 3, state=State.UNFINISHED, ago=HOUR), attempt(1, 2))),
        "run",
        [(2, 3)],
        trigger={"new_span"},
    ),
    "a span that a failed run began with is still new": Case(
        facts(1, 2, 3, attempts=(attempt(2, 3, state=State.FAILED, ago=HOUR), attempt(1, 2))),
        "run",
        [(2, 3)],
        trigger={"new_span"},
    ),
    "missed spans in one run": Case(
        facts(1, 2, 3, 4, 5, **USED), "run", [(4, 5)], trigger={"new_span"}, says="spans 3, 4, 5"
    ),
    "missed spans one by one, oldest first": Case(
        facts(1, 2, 3, 4, 5, **USED),
        "run",
        [(2, 3), (3, 4), (4, 5)],
        trigger={"new_span"},
        policy={"catch_up": "each"},
    ),
    "too few new spans": Case(
        facts(1, 2, 3, **USED),
        "nothing",
        note={"new_span", "nothing_new"},
        policy={"new_spans": 2},
    ),
    "enough new spans": Case(
        facts(1, 2, 3, 4, **USED), "run", [(3, 4)], trigger={"new_span"}, policy={"new_spans": 2}
    ),
    "new spans are no reason": Case(
        facts(1, 2, 3, **USED),
        "nothing",
        note={"new_span", "nothing_new"},
        policy={"new_spans": None},
    ),
    # Incomplete spans.
    "a marker is missing": Case(
        facts(1, 2, delivery(3, missing="there is no _SUCCESS"), **USED),
        "wait",
        blocker={"incomplete"},
        says="span 3 is incomplete: there is no _SUCCESS",
    ),
    "a delivery has not rested": Case(
        facts(1, 2, delivery(3, age=5 * MINUTE), **USED),
        "wait",
        blocker={"incomplete"},
        policy={"complete": {"age_minutes": 10}},
        says="modified 5 min ago, must be unchanged for 10 min",
    ),
    "a delivery has rested": Case(
        facts(1, 2, delivery(3, age=11 * MINUTE), **USED),
        "run",
        [(2, 3)],
        trigger={"new_span"},
        policy={"complete": {"age_minutes": 10}},
    ),
    "a used span is complete": Case(
        facts(1, delivery(2, missing="there is no _SUCCESS"), **USED),
        "nothing",
        note={"nothing_new"},
    ),
    "a window with a delivery in progress waits, the one before runs": Case(
        facts(1, 2, 3, delivery(4, missing="no marker"), 5, **USED),
        "run",
        [(2, 3)],
        trigger={"new_span"},
        blocker={"incomplete"},
        policy={"catch_up": "each"},
    ),
    "forcing uses no incomplete span": Case(
        facts(delivery(1, missing="no marker")),
        "wait",
        trigger={"forced"},
        blocker={"incomplete"},
        is_forced=True,
    ),
    # Late data.
    "an old span of the window came again": Case(
        facts(delivery(1, "v2", version=2), 2, **USED),
        "run",
        [(1, 2)],
        trigger={"late_data"},
        says="span 1 arrived again as version 2",
    ),
    "an old span of the window came late": Case(
        facts(1, 2, 3, attempts=(attempt(1, 3),), served=served(1, 3)),
        "run",
        [(2, 3)],
        trigger={"late_data"},
        says="span 2 arrived after span 3",
    ),
    "an old span outside the window came again": Case(
        facts(delivery(1, "v2"), 2, 3, attempts=(attempt(2, 3), attempt(1, 2))),
        "nothing",
        note={"late_data", "nothing_new"},
        says="older than the newest window",
    ),
    "late data is no reason": Case(
        facts(delivery(1, "v2"), 2, **USED),
        "nothing",
        note={"nothing_new"},
        policy={"late_data": False},
    ),
    "late data that is incomplete": Case(
        facts(delivery(1, "v2", missing="no marker"), 2, **USED), "wait", blocker={"incomplete"}
    ),
    "an old span is again what it was: the cache knows its model": Case(
        facts(
            1, 2, served=served(1, 2),
            attempts=(attempt(1, 2, spans={1: "1-v2", 2: "2-v1"}), attempt(1, 2, ago=3 * DAY)),
        ),
        "run",
        [(1, 2)],
        trigger={"late_data"},
    ),
    "late and new data need one run": Case(
        facts(1, delivery(2, "v2"), 3, **USED),
        "run",
        [(2, 3)],
        trigger={"late_data", "new_span"},
    ),
    "late data behind a new span that is blocked": Case(
        facts(1, delivery(2, "v2"), 3, **BLOCKED),
        "run",
        [(1, 2)],
        trigger={"late_data", "new_span"},
        blocker={"blocked"},
    ),
    # Changes.
    "the source changed": Case(
        facts(1, 2, source="source-2", **USED), "run", [(1, 2)], trigger={"source"}
    ),
    "the schema changed": Case(
        facts(1, 2, schema="schema-2", **USED), "run", [(1, 2)], trigger={"schema"}
    ),
    "an inferred schema does not change": Case(
        facts(1, 2, schema="", **USED), "nothing", note={"nothing_new"}
    ),
    "changes are no reason": Case(
        facts(1, 2, source="source-2", schema="schema-2", **USED),
        "nothing",
        note={"nothing_new"},
        policy={"changes": []},
    ),
    "a change that was tried is not tried again": Case(
        facts(
            1, 2, source="source-2", served=served(1, 2),
            attempts=(attempt(1, 2, source="source-2", state=State.NOT_BLESSED), attempt(1, 2)),
        ),
        "nothing",
        note={"source", "nothing_new"},
        says="run-1-2 tried it: its model was not blessed",
    ),
    "a change while nothing is served": Case(
        facts(1, 2, source="source-2", attempts=(attempt(1, 2, state=State.NOT_BLESSED),)),
        "run",
        [(1, 2)],
        trigger={"source"},
    ),
    "a rollback does not make the old source new": Case(
        facts(
            1, 2, source="source-2", served=served(1, 2, source="source-1"),
            attempts=(attempt(1, 2, source="source-2"), attempt(1, 2)),
        ),
        "nothing",
        note={"source", "nothing_new"},
    ),
    # Drift.
    "drift of a span that was measured": Case(
        facts(1, 2, 3, **MEASURED),
        "run",
        [(2, 3)],
        trigger={"drift"},
        note={"new_span"},
        policy={"drift": 0.4, "new_spans": 3},
        says="span 3 has drifted: x, L-infinity distance to span 2: 0.500; retrain.drift is 0.4",
    ),
    "drift below its limit": Case(
        facts(1, 2, 3, **MEASURED),
        "nothing",
        note={"new_span", "nothing_new"},
        policy={"drift": 0.6, "new_spans": 3},
    ),
    "drift of a span that was never measured": Case(
        facts(1, 2, 3, **USED),
        "nothing",
        note={"drift", "new_span", "nothing_new"},
        policy={"drift": 0.4, "new_spans": 3},
        says="the drift of span 3 is unknown",
    ),
    "what was measured of other files says nothing": Case(
        facts(1, 2, delivery(3, "v2"), **MEASURED),
        "nothing",
        note={"drift", "new_span", "nothing_new"},
        policy={"drift": 0.4, "new_spans": 3},
        says="the drift of span 3 is unknown",
    ),
    "nor what was measured against another span": Case(
        facts(1, 2, 3, attempts=MEASURED["attempts"], served=served(1)),
        "nothing",
        note={"drift", "new_span", "nothing_new"},
        policy={"drift": 0.4, "new_spans": 3, "changes": []},
        says="compared it with another span",
    ),
    "the served model knows the drifted span": Case(
        facts(2, 3, attempts=(attempt(2, 3, distances=DRIFTED),), served=served(2, 3)),
        "nothing",
        note={"nothing_new"},
        policy={"drift": 0.4},
    ),
    "drift that was tried is not tried again": Case(
        facts(
            1, 2, 3, served=served(1, 2),
            attempts=(attempt(2, 3, state=State.NOT_BLESSED, distances=DRIFTED), attempt(1, 2)),
        ),
        "nothing",
        note={"drift", "nothing_new"},
        policy={"drift": 0.4},
    ),
    # Age.
    "the served model is old": Case(
        facts(1, 2, attempts=(attempt(1, 2, ago=40 * DAY),), served=served(1, 2, age=40 * DAY)),
        "run",
        [(1, 2)],
        trigger={"age"},
        policy={"max_age_days": 30},
        is_fresh=True,
        says="version 1 is 40.0 days old; retrain.max_age_days is 30",
    ),
    "it is young enough": Case(
        facts(1, 2, attempts=(attempt(1, 2, ago=20 * DAY),), served=served(1, 2, age=20 * DAY)),
        "nothing",
        note={"nothing_new"},
        policy={"max_age_days": 30},
    ),
    "its successor was tried and not blessed": Case(
        facts(
            1, 2, served=served(1, 2, age=40 * DAY),
            attempts=(attempt(1, 2, ago=3 * DAY, state=State.NOT_BLESSED), attempt(1, 2)),
        ),
        "nothing",
        note={"age", "nothing_new"},
        policy={"max_age_days": 30},
    ),
    "age and a new span: nothing to train anew": Case(
        facts(1, 2, 3, attempts=(attempt(1, 2, ago=40 * DAY),), served=served(1, 2, age=40 * DAY)),
        "run",
        [(2, 3)],
        trigger={"age", "new_span"},
        policy={"max_age_days": 30},
    ),
    # Forced.
    "forced with nothing new": Case(
        facts(1, 2, **USED), "run", [(1, 2)], trigger={"forced"}, is_forced=True, is_fresh=True
    ),
    "forced through block, cool-down and budget": Case(
        facts(1, 2, 3, **BLOCKED),
        "run",
        [(2, 3)],
        trigger={"forced", "new_span"},
        is_forced=True,
        policy={"cool_down_minutes": 10_000, "runs_per_day": 1},
    ),
    # Blocked data.
    "a blocked span is not tried again": Case(
        facts(1, 2, 3, **BLOCKED),
        "wait",
        trigger={"new_span"},
        blocker={"blocked"},
        says="the data gate blocked run run-2-3 for span 3, which has not changed since",
    ),
    "nor in another window": Case(
        facts(1, 2, 3, 4, **BLOCKED),
        "wait",
        trigger={"new_span"},
        blocker={"blocked"},
        policy={"catch_up": "each"},
    ),
    "until it is repaired by a new version": Case(
        facts(1, 2, delivery(3, "v2", version=2), **BLOCKED), "run", [(2, 3)], trigger={"new_span"}
    ),
    "then what waited behind it is caught up in order": Case(
        facts(1, 2, delivery(3, "v2", version=2), 4, **BLOCKED),
        "run",
        [(2, 3), (3, 4)],
        trigger={"new_span"},
        policy={"catch_up": "each"},
    ),
    "or until it has left the window": Case(
        facts(1, 2, 3, 4, 5, **BLOCKED),
        "run",
        [(4, 5)],
        trigger={"new_span"},
        blocker={"blocked"},
        policy={"catch_up": "each"},
    ),
    "or until the schema accepts it": Case(
        facts(1, 2, 3, schema="schema-2", **BLOCKED),
        "run",
        [(2, 3)],
        trigger={"new_span", "schema"},
    ),
    "or until the gate's policy lets it pass": Case(
        facts(1, 2, 3, **{**BLOCKED, "gate": {"anomalies": {"new_value": "pass"}}}),
        "run",
        [(2, 3)],
        trigger={"new_span"},
    ),
    "another source does not unblock it": Case(
        facts(1, 2, 3, source="source-2", **BLOCKED),
        "run",
        [(1, 2)],
        trigger={"new_span", "source"},
        blocker={"blocked"},
    ),
    "blocked as a window, by no span of its own": Case(
        facts(1, 2, 3, attempts=(attempt(2, 3, state=State.BLOCKED), attempt(1, 2))),
        "wait",
        trigger={"new_span"},
        blocker={"blocked"},
    ),
    "another window is another question then": Case(
        facts(1, 2, 3, 4, attempts=(attempt(2, 3, state=State.BLOCKED), attempt(1, 2))),
        "run",
        [(3, 4)],
        trigger={"new_span"},
        blocker={"blocked"},
        policy={"catch_up": "each"},
    ),
    "a later run that passed clears a span": Case(
        facts(
            1, 2, 3, 4,
            attempts=(attempt(2, 3), attempt(2, 3, state=State.BLOCKED, bad=(3,)), attempt(1, 2)),
        ),
        "run",
        [(3, 4)],
        trigger={"new_span"},
    ),
    # Data that cannot be read.
    "a span that could not be read is not tried again": Case(
        facts(1, 2, delivery(3, age=2 * DAY), **UNREADABLE),
        "wait",
        trigger={"new_span"},
        blocker={"unreadable"},
        says="could not read span 3, which has not changed since",
    ),
    "until it changes": Case(
        facts(1, 2, delivery(3, age=HOUR), **UNREADABLE), "run", [(2, 3)], trigger={"new_span"}
    ),
    "or is read in another way": Case(
        facts(1, 2, delivery(3, age=2 * DAY), **{**UNREADABLE, "ingest": {"label": "z"}}),
        "run",
        [(2, 3)],
        trigger={"new_span"},
    ),
    # Failures.
    "failed too often": Case(
        facts(1, 2, 3, attempts=(*[attempt(2, 3, state=State.FAILED)] * 3, attempt(1, 2))),
        "wait",
        trigger={"new_span"},
        blocker={"failed"},
    ),
    "failed, but not as often": Case(
        facts(1, 2, 3, attempts=(*[attempt(2, 3, state=State.FAILED)] * 2, attempt(1, 2))),
        "run",
        [(2, 3)],
        trigger={"new_span"},
    ),
    "failed before the source was corrected": Case(
        facts(
            1, 2, 3, source="source-2",
            attempts=(*[attempt(2, 3, state=State.FAILED)] * 3, attempt(1, 2)),
        ),
        "run",
        [(2, 3)],
        trigger={"new_span", "source"},
    ),
    "a killed run is no failure": Case(
        facts(1, 2, 3, attempts=(*[attempt(2, 3, state=State.UNFINISHED)] * 9, attempt(1, 2))),
        "run",
        [(2, 3)],
        trigger={"new_span"},
    ),
    "a run that was killed in between does not clear them": Case(
        facts(
            1, 2, 3,
            attempts=(
                attempt(2, 3, state=State.UNFINISHED, ago=HOUR),
                *[attempt(2, 3, state=State.FAILED)] * 3,
                attempt(1, 2),
            ),
        ),
        "wait",
        trigger={"new_span"},
        blocker={"failed"},
    ),
    # The clock.
    "cooling down": Case(
        facts(1, 2, 3, attempts=(attempt(1, 2, ago=10 * MINUTE),), served=served(1, 2)),
        "wait",
        trigger={"new_span"},
        blocker={"cool_down"},
        policy={"cool_down_minutes": 30},
        says="ended 10 minutes ago; retrain.cool_down_minutes is 30",
    ),
    "cooled down": Case(
        facts(1, 2, 3, attempts=(attempt(1, 2, ago=31 * MINUTE),), served=served(1, 2)),
        "run",
        [(2, 3)],
        trigger={"new_span"},
        policy={"cool_down_minutes": 30},
    ),
    "with a cool-down, missed spans come one at a time": Case(
        facts(1, 2, 3, 4, **USED),
        "run",
        [(2, 3)],
        trigger={"new_span"},
        note={"cool_down"},
        policy={"catch_up": "each", "cool_down_minutes": 30},
    ),
    "the budget is used up": Case(
        facts(1, 2, 3, attempts=(attempt(1, 2, ago=HOUR), attempt(1, 2, ago=2 * HOUR))),
        "wait",
        trigger={"new_span"},
        blocker={"budget"},
        policy={"runs_per_day": 2},
    ),
    "the budget of yesterday is not today's": Case(
        facts(1, 2, 3, attempts=(attempt(1, 2, ago=HOUR), attempt(1, 2, ago=25 * HOUR))),
        "run",
        [(2, 3)],
        trigger={"new_span"},
        policy={"runs_per_day": 2},
    ),
    "the budget cuts a catch-up short": Case(
        facts(1, 2, 3, 4, 5, attempts=(attempt(1, 2, ago=HOUR),)),
        "run",
        [(2, 3), (3, 4)],
        trigger={"new_span"},
        blocker={"budget"},
        policy={"catch_up": "each", "runs_per_day": 3},
        says="1 run(s) have to wait",
    ),
    "nothing new needs neither": Case(
        facts(1, 2, attempts=(attempt(1, 2, ago=MINUTE),), served=served(1, 2)),
        "nothing",
        note={"nothing_new"},
        policy={"cool_down_minutes": 30, "runs_per_day": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_decision(case: Case) -> None:
    decision = decide(case.facts, Retrain(**case.policy), NOW, case.is_forced)
    said = "\n".join(reason.text for reason in decision.reasons)

    def kinds(effect: Effect) -> set[str]:
        return {reason.kind for reason in decision.reasons if reason.effect is effect}

    assert (decision.action, list(decision.windows)) == (Action(case.action), case.windows), said
    assert kinds(Effect.TRIGGER) == case.trigger, said
    assert kinds(Effect.BLOCKER) == case.blocker, said
    assert kinds(Effect.NOTE) == case.note, said
    assert decision.is_fresh == case.is_fresh
    assert case.says in said


def decide_for(given: Facts, **policy: Any) -> Decision:
    return decide(given, Retrain(**policy), NOW)


def test_triggers_stand_before_blockers_and_each_once() -> None:
    decision = decide_for(facts(1, 2, 3, 4, **BLOCKED), catch_up="each")
    effects = [reason.effect for reason in decision.reasons]
    assert effects == sorted(effects, key=list(Effect).index)
    assert len(set(decision.reasons)) == len(decision.reasons)


def test_the_same_facts_give_the_same_decision_and_are_left_as_they_were() -> None:
    given = facts(1, 2, 3, 4, **BLOCKED)
    before = repr(given)
    assert decide_for(given) == decide_for(given)
    assert repr(given) == before


def test_a_decision_is_json_with_the_keys_that_the_clock_reads() -> None:
    raw = decide_for(facts(1, 2, 3, **USED)).to_dict()
    assert raw == {
        "action": "run",
        "reasons": [{"effect": "trigger", "kind": "new_span", "text": "span 3 is new", "span": 3}],
        "windows": [[2, 3]],
        "fresh": False,
    }


def test_dates_are_named_as_dates() -> None:
    given = facts(1, 2, 3, names={3: "2026-11-20"}, **USED)
    assert "span 2026-11-20 is new" in decide_for(given).reasons[0].text


def test_a_month_that_came_corrupt_is_repaired_and_the_year_goes_on() -> None:
    """Month by month: the next decision after each run."""
    history: list[Attempt] = []
    ran = []
    lying: list[Delivery] = []

    def check() -> Decision:
        return decide(facts(*lying, attempts=tuple(reversed(history))), Retrain(), NOW)

    def run(state: State, window: tuple[int, ...], **changes: Any) -> None:
        marks = {d.span: d.fingerprint for d in lying if d.span in window}
        history.append(attempt(*window, state=state, spans=marks, **changes))
        ran.append((window, state))

    for month in range(1, 5):
        lying.append(delivery(month))
        decision = check()
        assert decision.action is Action.RUN
        (window,) = decision.windows
        if month == 4:
            run(State.BLOCKED, window, bad=(4,))
        else:
            run(State.PUBLISHED, window)
    assert check().action is Action.WAIT
    lying.append(delivery(5))
    assert check().action is Action.WAIT
    lying[3] = delivery(4, "v2", version=2)
    decision = check()
    assert decision.windows == ((4, 5),)
    run(State.PUBLISHED, decision.windows[0])
    assert check().action is Action.NOTHING
    assert [window for window, _ in ran] == [(1,), (1, 2), (2, 3), (3, 4), (4, 5)]
