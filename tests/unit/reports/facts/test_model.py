"""The evaluation on a run's page, from a readout on disk."""

import json
import re

import pytest

from ordain.history.runs import NodeRun, Output, Run
from ordain.reports.facts.model import read_evaluation
from ordain.reports.facts.run_record import Record
from ordain.reports.facts.slices import ranked
from ordain.reports.page import render
from ordain.verdict import Outcome, Reason, Verdict

WHY = "26 rows, no positive"
METRICS = [
    {"slice": "", "name": "auc", "value": 0.72, "baseline": 0.71, "trivial": {"always '0'": 0.5}},
    {"slice": "c=a", "name": "auc", "value": 0.8, "baseline_undefined": WHY},
    {"slice": "c=b", "name": "auc", "undefined": WHY, "baseline_undefined": WHY},
    {"slice": "", "name": "precision", "undefined": "90 rows, none predicted as positive"},
]


@pytest.fixture
def record(make_project, tmp_path):
    project = make_project()
    readout = {
        "fingerprint": "f" * 64,
        "rows": {"": 90, "c=a": 64, "c=b": 26},
        "metrics": METRICS,
        "histograms": [
            # Rows of one class: there is no curve of them.
            {
                "slice": "",
                "is_baseline": False,
                "buckets": 4,
                "cells": [[0, 50, 0, 5], [2, 40, 0, 9]],
            }
        ],
        "confusion": [],
    }
    (tmp_path / "readout.json").write_text(json.dumps(readout))
    output = Output(1, "evaluation", "ModelEvaluation", str(tmp_path), {})
    run = Run("r", 0, (NodeRun(1, "Evaluator", None, "complete", 0, 5, (output,)),))
    text = f"auc on c=b: undefined ({WHY}); must be at least 0.65"
    reasons = [
        Reason(Outcome.SKIPPED, "auc.min", text, "c=b", limit=0.65, rows=26, undefined=WHY),
        Reason(Outcome.PASSED, "auc.min", "auc: 0.7200", measured=0.72, limit=0.65, rows=90),
    ]
    result = {
        "headline": "the model passed",
        "window": [1],
        "verdicts": [Verdict.of("evaluation", reasons).to_dict()],
        "nodes": [],
        "version": 1,
        "is_new_version": True,
        "is_partial": False,
        "seconds": 1.0,
        "peak_rss_bytes": None,
        "started": "2026-11-21T13:05:39+00:00",
        "exit_code": 0,
    }
    return Record(project, run, tmp_path, result)


def test_an_undefined_metric_has_a_reason_and_no_number(record):
    found = read_evaluation(record)
    assert found.counts == {"": 90, "c=a": 64, "c=b": 26}
    undefined = found.slices["c=b"]["auc"]
    assert (undefined.value, undefined.undefined, undefined.difference) == (None, WHY, None)
    assert undefined.interval is None
    assert found.overall["auc"].difference == pytest.approx(0.01)
    assert found.slices["c=a"]["auc"].difference is None
    assert ranked(found, "auc") == ["", "c=a", "c=b"]


@pytest.mark.process
def test_the_page_says_so_wherever_a_number_would_stand(record):
    html = render(record)
    words = re.sub(r"<[^>]+>", " ", html)
    assert "could not" not in words
    assert f"undefined {WHY}" in " ".join(words.split())
    assert "undefined 90 rows, none predicted as positive" in " ".join(words.split())
    assert re.search(r'<span class="badge skipped">skipped</span>', html)
    assert "+0.0100" in words
    assert "always &#39;0&#39;" in words
    assert "ROC curve" not in words
    assert "0.0000" not in words
