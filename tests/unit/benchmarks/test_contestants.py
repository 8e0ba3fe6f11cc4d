"""Command lines of the contestants, and the reading of their output."""

import ast
import contextlib
import itertools
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contestants import (
    CONTESTANTS,
    EVAL_STEPS,
    PROJECT,
    ROOT,
    ContestantError,
    Job,
    auc_of_verdict,
)
from benchmarks.inputs import Rows
from ordain.config.loading import load_project
from ordain.config.thresholds import check_thresholds

JOB = Job(Path("/folder/csv/flights.csv"), months=3, rows=Rows(20, 10), steps=7)
BY_NAME = {contestant.name: contestant for contestant in CONTESTANTS}


def test_ordain_is_given_the_peers_work(tmp_path: Path) -> None:
    command = BY_NAME["ordain"].command(JOB, tmp_path)
    assert command[1:4] == ["run", PROJECT, "--json"]
    settings = [b for a, b in itertools.pairwise(command) if a == "--set"]

    project = load_project(ROOT / PROJECT, settings=settings)
    check_thresholds(project)
    assert project.workspace == tmp_path
    assert (project.data.window, project.train.steps) == (3, 7)
    assert project.train.eval_steps == EVAL_STEPS
    assert project.train.parameters["batch_size"] == 256
    assert project.train.parameters["learning_rate"] == 0.001
    assert [m.class_name for m in project.evaluate.metrics] == ["ExampleCount", "AUC"]
    assert project.evaluate.slices == (("origin",),)
    (auc,) = project.evaluate.thresholds.values()
    assert (auc.min, auc.max_drop, auc.newest, auc.slices) == (0.6, 0.02, None, ())
    assert (project.data.split.by, project.data.split.train, project.data.split.eval) == (
        "date", 2, 1,
    )  # fmt: skip


def test_the_stock_pipeline_has_the_same_figures() -> None:
    text = (ROOT / "benchmarks" / "peers" / "run_stock.py").read_text()
    assert "lower_bound={'value': 0.6}" in text
    assert "absolute={'value': -0.02}" in text
    assert f"EvalArgs(num_steps={EVAL_STEPS})" in text
    assert "partition_feature_name='date'" in text
    module = (ROOT / "benchmarks" / "peers" / "flights_module.py").read_text()
    assert "tto, 256)" in module
    assert "CosineDecay(1e-3, steps)" in module
    ours = _constants((ROOT / PROJECT / "model.py").read_text())
    for peer in ("flights_module.py", "run_plain.py"):
        theirs = _constants((ROOT / "benchmarks" / "peers" / peer).read_text())
        assert theirs["NUM"] == ours["NUMERIC"]
        assert theirs["STR"] == ours["TEXT"]
        assert theirs["INT"] == ours["CALENDAR"]


def _constants(source: str) -> dict[str, Any]:
    """The module's names that are assigned a literal."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            with contextlib.suppress(ValueError):
                found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def test_plain_result_is_the_last_line(tmp_path: Path) -> None:
    output = (
        "Epoch 1/1\n"
        '{"run_s": 4.5, "auc": 0.71, "slices": {"JFK": 0.7}, "rows": {"train": 20, "eval": 10}}\n'
        "a last word of a library\n"
    )
    outcome = BY_NAME["plain"].read(JOB, tmp_path, output)
    assert (outcome.auc, outcome.slices, outcome.eval_rows) == (0.71, {"origin=JFK": 0.7}, 10)
    assert outcome.seconds == {"the script": 4.5}
    assert outcome.is_blessed is None


@pytest.mark.parametrize(
    ("name", "output", "message"),
    [
        ("plain", "Epoch 1/1\n", "ended without printing its result"),
        ("plain", '{"run_s": 1, "rows": {"train": 21}}', "trained on 21 rows, not on the 20"),
        ("stock", '{"components": {}, "pushed": []}', "left 0 evaluations behind"),
        (
            "ordain",
            '{"nodes": [{"node": "ExampleGen", "rows": 29}]}',
            "ingested 29 rows, not the 30 that have a label",
        ),
    ],
)
def test_other_work_is_refused(tmp_path: Path, name: str, output: str, message: str) -> None:
    with pytest.raises(ContestantError, match=message):
        BY_NAME[name].read(JOB, tmp_path, output)


def test_auc_of_verdict_is_the_one_over_all_rows() -> None:
    reasons: list[dict[str, Any]] = [
        {"kind": "auc.min", "where": "origin=JFK", "measured": 0.5},
        {"kind": "auc.max_drop", "measured": 0.6},
        {"kind": "auc.min", "measured": 0.7},
    ]
    data = {"gate": "data", "reasons": [{"kind": "drift", "measured": 0.1}]}
    assert auc_of_verdict({"verdicts": [data, {"gate": "evaluation", "reasons": reasons}]}) == 0.7
    with pytest.raises(ContestantError, match="names an AUC"):
        auc_of_verdict({"verdicts": [data]})
