"""Summaries on Kubeflow's pages: text that stays text, and numbers."""

from html.parser import HTMLParser

from ordain.history.results import Failure, NodeResult, RunResult
from ordain.history.runs import Output
from ordain.kubeflow.pod.summary import (
    MAX_REPORT_BYTES,
    executor_output,
    node_numbers,
    node_page,
    run_html,
    run_page,
)
from ordain.verdict import Outcome, Reason, Verdict

HOSTILE = '<script>alert("1")</script>&\u202e' + "x" * 10_000


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.names, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onload"}

    def handle_data(self, data):
        self.texts.append(data)


def test_names_and_values_of_the_data_are_text():
    verdict = Verdict.of("data", [Reason(Outcome.BLOCKED, "new_value", HOSTILE, where=HOSTILE)])
    result = NodeResult("DataGate", "complete", 1.5, rows=3, reason=HOSTILE, execution_ids=(1,))
    page = node_page(result, [Output(1, "verdict", "GateVerdict", HOSTILE, {})], verdict, None)
    tags = Tags(page)
    assert "script" not in tags.names
    assert any('<script>alert("1")</script>&' in text for text in tags.texts)
    assert len(page) < 10_000


def test_a_failed_nodes_page_shows_the_next_step():
    failure = Failure("Trainer", "it fell", "read the log", 1)
    page = node_page(NodeResult("Trainer", "failed", reason="it fell"), [], None, failure)
    assert "<h1>Trainer: failed</h1>" in page and "read the log" in page


def test_numbers_are_numbers_only():
    verdict = Verdict.of(
        "evaluation",
        [
            Reason(Outcome.PASSED, "auc.min", "", measured=0.8, limit=0.7),
            Reason(Outcome.PASSED, "auc.min", "", where="c=a", measured=0.9, limit=0.7),
            Reason(Outcome.PASSED, "count", "no number"),
        ],
    )
    result = NodeResult("Evaluator", "complete", 2.0, spans={"cached": 1, "complete": 1})
    assert node_numbers(result, verdict) == {
        "seconds": 2.0,
        "launches cached": 1,
        "launches complete": 1,
        "auc.min": 0.8,
        "auc.min c=a": 0.9,
    }
    output = executor_output({"rows": 3})
    assert output["artifacts"]["metrics"]["artifacts"][0]["metadata"] == {"rows": 3}


def test_a_runs_page_has_its_verdict_first():
    verdict = Verdict.of("data", [Reason(Outcome.BLOCKED, "missing_column", "c is not there")])
    nodes = (NodeResult("DataGate", "complete"), NodeResult("Trainer", "skipped", reason="gate"))
    page = run_page(RunResult("toy", "run-1", "2026", 1.0, (1, 2), nodes, (verdict,)))
    assert "<h1>the data gate blocked this run" in page
    assert page.index("c is not there") < page.index("Trainer")


def test_the_last_tasks_show_the_runs_page_unless_it_is_too_large_or_missing(tmp_path):
    result = RunResult("toy", "run-1", "2026-11-21T08:00:00+00:00", 1.0, (1,), (), (), version=3)
    page = tmp_path / "report.html"
    assert run_html(result, None) == run_html(result, page) == run_page(result)
    page.write_text("x" * MAX_REPORT_BYTES)
    assert run_html(result, page) == "x" * MAX_REPORT_BYTES
    page.write_text("x" * (MAX_REPORT_BYTES + 1))
    assert run_html(result, page) == run_page(result)
