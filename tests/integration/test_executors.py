"""`executors`: the same chain with TFX's executors in place of ours, on the same input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from sandbox import Sandbox, good_rows, states

from ordain.errors import ExitCode
from ordain.history.results import RunResult

ALL = {"ExampleGen": "tfx", "StatisticsGen": "tfx", "Transform": "tfx", "Evaluator": "tfx"}
#: A limit that no AUC reaches.
OUT_OF_REACH = "evaluate.thresholds.auc.min=1.1"


def test_ours_and_tfx_are_exchanged_by_one_setting(small: Callable[..., Sandbox]) -> None:
    project = small({1: good_rows(300), 2: good_rows(420)}, data={"format": "csv"})
    ours = project.run()
    assert ours.exit_code is ExitCode.DONE, ours.failure

    # The same model, judged by TFX's Evaluator.
    judged = project.run("executors.Evaluator=tfx")
    assert judged.exit_code is ExitCode.DONE, judged.failure
    assert states(judged)["Trainer"] == "cached"
    assert states(judged)["Evaluator"] == "complete"
    assert verdict(judged) == verdict(ours)
    expected = {key: value for key, value in metrics(project, ours).items() if "span=" not in key}
    assert metrics(project, judged) == pytest.approx(expected, rel=1e-6)
    assert "auc" in expected

    # And blocked by either, with the same reasons.
    refused = [project.run(OUT_OF_REACH), project.run(OUT_OF_REACH, "executors.Evaluator=tfx")]
    assert [run.exit_code for run in refused] == [ExitCode.NOT_BLESSED] * 2
    assert verdict(refused[0]) == verdict(refused[1])

    # All that can be exchanged.
    project.set(executors=ALL)
    stock = project.run()
    assert stock.exit_code is ExitCode.DONE, stock.failure
    assert {states(stock)[name] for name in ALL} == {"complete"}
    assert "AnalyzerCache" not in states(stock)
    rows = [{n.node: n.rows for n in run.nodes} for run in (ours, stock)]
    for name in ("ExampleGen", "Transform"):
        assert rows[0][name] == rows[1][name] == 720
    for split in ("train", "eval"):
        found, wanted = (statistics(project, run, split) for run in (stock, ours))
        assert found == wanted
        found, wanted = (transformed(project, run, split) for run in (stock, ours))
        assert len(found) == len(wanted) > 100
        for one, other in zip(found, wanted, strict=True):
            assert one == pytest.approx(other, abs=1e-5)
    # Trained anew, on the same rows in another order.
    assert [reason[:2] for reason in verdict(stock)] == [reason[:2] for reason in verdict(ours)]
    found = metrics(project, stock)
    assert found["example_count"] == expected["example_count"]
    assert found["auc"] == pytest.approx(expected["auc"], abs=0.05)


def verdict(run: RunResult) -> list[tuple[Any, ...]]:
    (found,) = (v for v in run.verdicts if v.gate == "evaluation")
    return sorted(
        (str(r.outcome), r.kind, r.where, None if r.measured is None else round(r.measured, 6))
        for r in found.reasons
    )


def metrics(project: Sandbox, run: RunResult) -> dict[str, float]:
    (folder,) = artifacts(project, run, "Evaluator", "evaluation")
    measured = json.loads((folder / "readout.json").read_text())["metrics"]
    return {
        f"{entry['name']} {entry['slice']}".strip(): entry["value"]
        for entry in measured
        if "value" in entry
    }


def statistics(project: Sandbox, run: RunResult, split: str) -> list[Any]:
    """What is compared of the statistics of each span; test_parity.py compares the whole."""
    found = []
    for folder in artifacts(project, run, "StatisticsGen", "statistics"):
        loaded = tfdv.load_stats_binary(str(folder / f"Split-{split}" / "FeatureStats.pb"))
        (dataset,) = loaded.datasets
        features = {}
        for feature in dataset.features:
            kind = feature.WhichOneof("stats")
            stats = getattr(feature, kind)
            facts = [feature.type, stats.common_stats.num_non_missing]
            if kind == "num_stats":
                facts += [round(stats.mean, 6), round(stats.std_dev, 6), stats.min, stats.max]
            else:
                facts += [stats.unique, sorted((v.value, v.frequency) for v in stats.top_values)]
            features[".".join(feature.path.step)] = facts
        found.append((dataset.num_examples, features))
    return found


def transformed(project: Sandbox, run: RunResult, split: str) -> list[tuple[float, ...]]:
    roots = artifacts(project, run, "Transform", "transformed_examples")
    files = [str(p) for root in roots for p in root.rglob(f"Split-{split}/*")]
    spec = {name: tf.io.FixedLenFeature([], tf.float32) for name in ("x_xf", "c_xf")}
    spec["y"] = tf.io.FixedLenFeature([], tf.int64)
    rows = []
    for record in tf.data.TFRecordDataset(files, "GZIP"):
        parsed = tf.io.parse_single_example(record, spec)
        rows.append(tuple(float(parsed[name]) for name in ("c_xf", "x_xf", "y")))
    return sorted(rows)


def artifacts(project: Sandbox, run: RunResult, node: str, key: str) -> list[Path]:
    """Folders that a node wrote in this run, in the order of its spans."""
    (result,) = (n for n in run.nodes if n.node == node)
    root = project.folder / "var/small/artifacts" / node / key
    return [root / str(number) for number in result.execution_ids]
