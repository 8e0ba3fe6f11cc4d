"""Output of a run without a terminal."""

import dataclasses
import io
import logging

import pytest
from rich.console import Console

from ordain.cli.console import MAX_REASONS, RunView, print_result, print_verdict
from ordain.history.results import Failure, NodeResult, RunResult
from ordain.verdict import Outcome, Reason, Verdict

BLOCKED = Reason(
    Outcome.BLOCKED,
    "auc.min",
    "auc: 0.6000, must be at least 0.7",
    measured=0.6,
    limit=0.7,
    advice="train a better model",
)
RESULT = RunResult(
    "toy",
    "run-1",
    "2026",
    12.4,
    (1, 2),
    (),
    (),
    version=3,
    is_new_version=True,
    model="/srv/toy/3",
    baseline="/a/2",
)


@pytest.fixture
def printed():
    def render(draw, *arguments) -> str:
        stream = io.StringIO()
        draw(Console(file=stream, width=40, highlight=False), *arguments)
        return stream.getvalue()

    return render


class TestVerdict:
    def test_what_blocked_comes_first_with_advice(self, printed):
        reasons = [Reason(Outcome.PASSED, "k", "fine"), BLOCKED, Reason(Outcome.WARNED, "k", "odd")]
        lines = printed(print_verdict, Verdict.of("evaluation", reasons)).splitlines()
        assert lines == [
            "evaluation gate: blocked",
            "  blocked auc: 0.6000, must be at least 0.7",
            "           train a better model",
            "  warned  odd",
            "  passed  fine",
        ]

    def test_what_it_was_compared_with_comes_first(self, printed):
        verdict = Verdict.of("evaluation", [BLOCKED])
        verdict = dataclasses.replace(verdict, compared_with="version 3 (stable)")
        lines = printed(print_verdict, verdict).splitlines()
        assert lines[:2] == ["evaluation gate: blocked", "  compared with version 3 (stable)"]

    @pytest.mark.parametrize(
        ("text", "where", "span", "line"),
        [
            ("too far", "x", 3, "  warned  span 3 x: too far"),
            ("too far", "", 3, "  warned  span 3: too far"),
            ("x is too far", "x", None, "  warned  x is too far"),
            # A name within another word is not named.
            ("taxes are too far", "x", None, "  warned  x: taxes are too far"),
            ("limit 0.3", "", 3, "  warned  span 3: limit 0.3"),
        ],
    )
    def test_a_reason_names_its_place_once(self, printed, text, where, span, line):
        reason = Reason(Outcome.WARNED, "drift", text, where=where, span=span)
        assert printed(print_verdict, Verdict.of("data", [reason])).splitlines()[1] == line

    def test_many_are_cut_and_counted(self, printed):
        reasons = [dataclasses.replace(BLOCKED, text=f"reason {i}") for i in range(MAX_REASONS + 5)]
        text = printed(print_verdict, Verdict.of("data", reasons))
        assert text.count("  blocked reason") == MAX_REASONS
        assert "... and 5 more blocked (result.json)" in text

    def test_what_the_data_gate_passed_is_counted_and_rows_left_out_are_told(self, printed):
        reasons = [Reason(Outcome.PASSED, "drift", f"d{i}") for i in range(30)]
        reasons.append(Reason(Outcome.PASSED, "unlabelled", "12 rows were left out", span=1))
        lines = printed(print_verdict, Verdict.of("data", reasons)).splitlines()
        assert lines == [
            "data gate: passed",
            "  passed  span 1: 12 rows were left out",
            "  passed: 30 checks of drift and skew",
        ]

    def test_text_of_the_data_is_not_taken_for_markup(self, printed):
        reason = Reason(Outcome.WARNED, "new_value", "got [bold]x[/bold] [/]", where="[red]")
        assert "[red]: got [bold]x[/bold] [/]" in printed(
            print_verdict, Verdict.of("data", [reason])
        )


class TestResult:
    def test_a_good_one_says_where_the_model_is(self, printed):
        text = printed(print_result, RESULT, "ordain run toy")
        for line in (
            "the model passed every gate and is version 3",
            "  model    /srv/toy/3",
            "  baseline /a/2",
            "  run      run-1, 12 s, 2 span(s) to 2, exit code 0",
        ):
            assert f"{line}\n" in text
        assert "resume" not in text

    def test_a_failure_says_what_to_do_and_where_to_look(self, printed):
        nodes = (
            NodeResult("ExampleGen", "complete", log="/logs/ExampleGen.log"),
            NodeResult("Trainer", "failed", log="/logs/Trainer.log"),
        )
        failure = Failure("Trainer", "loss became nan", "lower the rate", 1)
        result = dataclasses.replace(RESULT, nodes=nodes, failure=failure, version=None, model=None)
        text = printed(print_result, result, "ordain run toy --set a.b=c")
        for line in (
            "Trainer failed: loss became nan",
            "  next     lower the rate",
            "  resume   ordain run toy --set a.b=c   (finished nodes are cached)",
            "  log      /logs/Trainer.log",
        ):
            assert f"{line}\n" in text
        assert "exit code 1" in text


class TestRunView:
    def test_each_node_is_a_line(self):
        stream = io.StringIO()
        with RunView(stream) as view:
            view.note("loading [TFX]")
            view.started("ExampleGen", 1)
            view.finished(
                NodeResult("ExampleGen", "cached", 0.25, 1234, {"cached": 2}, "same inputs")
            )
            view.finished(NodeResult("Trainer", "failed", 61.0, reason="[nan] " + "x" * 200))
        # However long: what reads a log or a pipe has no width to wrap at.
        loading, first, second = stream.getvalue().splitlines()
        assert loading == "loading [TFX]"
        assert first.split() == [
            "ExampleGen",
            "cached",
            "(2",
            "cached)",
            "0.2",
            "s",
            "1,234",
            "same",
            "inputs",
        ]
        assert second.split() == ["Trainer", "failed", "61.0", "s", "[nan]", "x" * 200]

    def test_progress_is_heard_only_while_it_draws(self):
        logger = logging.getLogger("ordain.progress")
        before = list(logger.handlers)
        with RunView(io.StringIO()):
            assert len(logger.handlers) == len(before) + 1
        assert logger.handlers == before
