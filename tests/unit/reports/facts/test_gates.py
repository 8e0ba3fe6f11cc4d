"""The gates of a report, those of a project's own nodes among them."""

import pytest

from ordain.history.results import NodeResult, RunResult
from ordain.history.runs import Run
from ordain.reports.facts.gates import gates, summarize, why_blocked
from ordain.reports.facts.run_record import Record
from ordain.reports.page import environment
from ordain.reports.sections import verdict
from ordain.verdict import Outcome, Reason, Verdict

DATA = Verdict.of("data", [Reason(Outcome.PASSED, "drift", "0.1 to span 2", where="x", span=3)])

#: The part of report.html that shows the gates.
PAGE = '{% import "macros.html" as ui with context %}{% include "verdict.html" %}'


@pytest.fixture
def record(make_project):
    """The record of a run with the data gate's verdict and one of an own gate."""

    def make(outcome: Outcome, text: str = "1 span(s), at least 5 wanted") -> Record:
        own = Verdict.of("span-count", [Reason(outcome, "spans", text)])
        nodes = tuple(
            NodeResult(name, state, 1.0, reason=reason)
            for name, state, reason in (
                ("DataGate", "complete", ""),
                ("CountSpans", "complete", ""),
                ("Evaluator", "skipped", "the span-count gate blocked"),
            )
        )
        made = RunResult("toy", "r", "2026-01-01T00:00:00+00:00", 1.0, (3,), nodes, (DATA, own))
        project = make_project()
        return Record(project, Run("r", 0), project.runs / "r", made.to_dict())

    return make


def test_an_own_gate_follows_ordains_own(record):
    found = {gate.name: gate for gate in gates(record(Outcome.BLOCKED))}
    assert list(found) == ["data", "evaluation", "server", "span-count"]
    own = found["span-count"]
    assert (own.outcome, own.why) == ("blocked", "")
    assert [reason.text for reason in own.notable] == ["1 span(s), at least 5 wanted"]
    assert found["data"].outcome == "passed"
    assert found["evaluation"].why == "Evaluator skipped: the span-count gate blocked"


@pytest.mark.parametrize(
    ("outcome", "blocked"), [(Outcome.BLOCKED, ["spans"]), (Outcome.WARNED, [])]
)
def test_an_own_gate_blocks_as_ordains_own(record, outcome, blocked):
    made = record(outcome)
    assert [reason.kind for reason in why_blocked(made)] == blocked
    head = summarize(made, None)
    assert (head.word, head.outcome) == ("Not pushed", "blocked")
    if blocked:
        assert head.headline == "the span-count gate blocked this run: nothing was pushed"


def test_the_page_shows_an_own_gate_with_its_reasons(record):
    made = record(Outcome.BLOCKED, "1 <span>, at least 5 wanted")
    html = environment().from_string(PAGE).render(record=made, head=verdict(made, None))
    assert '<span class="name">span-count gate</span>' in html
    assert "1 &lt;span&gt;, at least 5 wanted" in html
    assert "<span>, at least" not in html
