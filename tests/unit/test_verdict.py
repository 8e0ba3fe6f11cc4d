"""The verdict: the worst reason decides, and what is written reads back the same."""

import dataclasses
import itertools
import json

import pytest

from ordain.verdict import Outcome, Reason, Verdict

PASSED, WARNED, BLOCKED = Outcome.PASSED, Outcome.WARNED, Outcome.BLOCKED
SKIPPED = Outcome.SKIPPED
FULL = Reason(
    BLOCKED,
    "auc.min",
    "auc on origin=JFK: 0.6, must be at least 0.7",
    where="origin=JFK",
    span=0,
    measured=0.0,
    limit=0.7,
    baseline=0.71,
    advice="train a better model",
    rows=0,
    undefined="no rows",
    trivial=0.0,
)


def reason(outcome: Outcome, kind: str = "k") -> Reason:
    return Reason(outcome, kind, "text")


@pytest.mark.parametrize(
    ("outcomes", "worst"),
    [
        ((), PASSED),
        ((PASSED,), PASSED),
        ((PASSED, SKIPPED), PASSED),
        ((SKIPPED,), PASSED),
        ((SKIPPED, WARNED, PASSED), WARNED),
        ((PASSED, WARNED), WARNED),
        ((WARNED, PASSED), WARNED),
        ((BLOCKED, WARNED, PASSED), BLOCKED),
        ((PASSED, PASSED, BLOCKED), BLOCKED),
    ],
)
def test_the_worst_reason_decides(outcomes, worst):
    verdict = Verdict.of("data", [reason(o) for o in outcomes])
    assert verdict.outcome is worst
    assert verdict.is_blocked == (worst is BLOCKED)


def test_reasons_stand_worst_first_whatever_the_order_they_came_in():
    for outcomes in itertools.permutations((PASSED, WARNED, BLOCKED)):
        verdict = Verdict.of("data", [reason(o) for o in outcomes])
        assert [r.outcome for r in verdict.reasons] == [BLOCKED, WARNED, PASSED]


def test_reasons_of_one_outcome_keep_their_order():
    verdict = Verdict.of("data", [reason(WARNED, k) for k in "cab"])
    assert [r.kind for r in verdict.reasons] == ["c", "a", "b"]


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict.of("data", []),
        Verdict.of("data", [reason(WARNED)]),
        Verdict.of("evaluation", [FULL, reason(PASSED)]),
        Verdict("evaluation", PASSED, (), "version 3 (stable)"),
        Verdict.of("data", [Reason(WARNED, "new_value", "Wert: Zürich \u2028 'x'", where="ort")]),
    ],
)
def test_what_is_written_reads_back_the_same(verdict):
    assert Verdict.from_json(verdict.to_json()) == verdict
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict


def test_the_written_form_leaves_out_only_what_says_nothing():
    written = Verdict.of("data", [FULL, reason(PASSED)]).to_dict()["reasons"]
    # Zero is a measurement and span 0 a span.
    assert written[0] == dataclasses.asdict(FULL)
    assert written[1] == {"outcome": "passed", "kind": "k", "text": "text"}


def test_the_written_form_is_plain_json():
    assert json.loads(Verdict.of("data", [FULL]).to_json())["outcome"] == "blocked"


@pytest.mark.parametrize(
    "raw",
    [
        {"gate": "data", "outcome": "fine", "reasons": []},
        {"gate": "data", "outcome": "passed"},
        {"gate": "data", "outcome": "passed", "reasons": [{"kind": "k", "text": "t"}]},
    ],
)
def test_what_is_no_verdict_is_not_read_as_one(raw):
    with pytest.raises((KeyError, ValueError)):
        Verdict.from_dict(raw)


def test_a_verdict_cannot_be_changed_after_the_fact():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Verdict.of("data", [FULL]).outcome = PASSED
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.outcome = PASSED
