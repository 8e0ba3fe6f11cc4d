"""The gate on real SavedModels: undefined metrics, differences with their sign, trivial predictors.

Two data sets, a yes or no and a number as the label, and two models of each in both orders.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import yaml
from sandbox import PROJECTS
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from ordain.components import tfx_executors
from ordain.components.evaluator import executor as evaluator
from ordain.config.loading import load_project
from ordain.config.project import DEFAULT_BEAM_ARGS
from ordain.pipeline.eval_config import build_eval_config
from ordain.verdict import Outcome, Reason, Verdict

SCHEMA = """
feature { name: "x" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "y" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "c" type: BYTES presence { min_fraction: 1 } shape { dim { size: 1 } } }
"""
SPEC = {"x": tf.io.FixedLenFeature([], tf.float32), "y": tf.io.FixedLenFeature([], tf.float32)}
#: Metrics and thresholds of each data set, and what tells its better model.
BINARY = {
    "metrics": ["ExampleCount", "AUC", "AUCPrecisionRecall", "BinaryAccuracy", "Precision"],
    "slices": ["c"],
    "thresholds": {"auc": {"min": 0.6, "max_drop": 0.02, "slices": [{"keys": ["c"], "min": 0.6}]}},
}
NUMBER = {
    "metrics": ["ExampleCount", "R2Score", "MeanAbsoluteError"],
    "slices": ["c"],
    "thresholds": {"mean_absolute_error": {"max": 3, "max_rise": 0.02}},
}
#: The slope of a model that predicts NaN for some rows.
_HOLES = 2.0
_BOUNDS = {"binary": ("auc", "max_drop", -1), "number": ("mean_absolute_error", "max_rise", 1)}


class Model(tf.Module):
    """A model that is as good as its slope is near 1, and hands back labels."""

    def __init__(self, kind: str, slope: float) -> None:
        super().__init__()
        self._kind, self._slope = kind, slope

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def predict(self, examples: Any) -> Any:
        x = tf.io.parse_example(examples, SPEC)["x"][:, None]
        if self._kind == "binary":
            noise = tf.sin(x * 1000.0)
            return {"outputs": tf.sigmoid(self._slope * x + (1.0 - self._slope) * noise)}
        if self._slope == _HOLES:
            return {"outputs": tf.where(x > 1.0, tf.math.log(-x), 5.0 * x)}
        return {"outputs": 5.0 * self._slope * x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def transform(self, examples: Any) -> Any:
        return {"y": tf.io.parse_example(examples, SPEC)["y"]}


def rows(kind: str) -> list[bytes]:
    """200 rows of slice a, in slice b 26 without a positive."""
    generator = random.Random(1)
    found = []
    for i in range(226):
        part = "b" if i >= 200 else "a"
        x = generator.gauss(0, 1) if part == "a" else -abs(generator.gauss(0, 1)) - 0.5
        y = 5 * x + generator.gauss(0, 0.1)
        if kind == "binary":
            y = float(part == "a" and x + generator.gauss(0, 0.5) > 0.4)
        feature = {
            "x": tf.train.Feature(float_list=tf.train.FloatList(value=[x])),
            "y": tf.train.Feature(float_list=tf.train.FloatList(value=[y])),
            "c": tf.train.Feature(bytes_list=tf.train.BytesList(value=[part.encode()])),
        }
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        found.append(example.SerializeToString())
    return found


class Bench:
    """Evaluates models on the rows of a data set, as a project asks for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _write(folder / "schema" / "schema.pbtxt", SCHEMA)

    def model(self, kind: str, slope: float) -> Any:
        found = _artifact(standard_artifacts.Model, self.folder / f"{kind}-{slope}")
        path = Path(found.uri) / "Format-Serving"
        if not path.exists():
            made = Model(kind, slope)
            signatures = {"serving_tf_example": made.predict, "transform_features": made.transform}
            tf.saved_model.save(made, str(path), signatures=signatures)
        return found

    def examples(self, kind: str) -> Any:
        found = _artifact(standard_artifacts.Examples, self.folder / f"examples-{kind}")
        found.span, found.split_names = 1, '["eval"]'
        path = Path(found.uri) / "Split-eval" / "data-00000.gz"
        if not path.exists():
            path.parent.mkdir(parents=True)
            with tf.io.TFRecordWriter(str(path), "GZIP") as file:
                for row in rows(kind):
                    file.write(row)
        return found

    def evaluate(
        self,
        kind: str,
        evaluate: dict[str, Any],
        slope: float,
        baseline: float | None = None,
        executor: type = evaluator.Executor,
    ) -> tuple[Verdict, dict[str, Any], bool]:
        """Verdict, readout, and whether the model was blessed."""
        settings = yaml.safe_load((PROJECTS / "small" / "pipeline.yaml").read_text())
        project = self.folder / f"project-{len(list(self.folder.iterdir()))}"
        if executor is tfx_executors.Evaluator:
            settings["executors"] = {"Evaluator": "tfx"}
        _write(project / "pipeline.yaml", yaml.safe_dump({**settings, "evaluate": evaluate}))
        config = build_eval_config(load_project(project), 1)
        inputs = {
            "examples": [self.examples(kind)],
            "model": [self.model(kind, slope)],
            "schema": [_artifact(standard_artifacts.Schema, self.folder / "schema")],
        }
        if baseline is not None:
            inputs["baseline_model"] = [self.model(kind, baseline)]
        (project / "blessing").mkdir()
        outputs = {
            "evaluation": [_artifact(standard_artifacts.ModelEvaluation, project / "evaluation")],
            "blessing": [_artifact(standard_artifacts.ModelBlessing, project / "blessing")],
        }
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=list(DEFAULT_BEAM_ARGS),
            tmp_dir=str(self.folder / "tmp"),
            unique_id="1",
        )
        properties = {"eval_config": proto_utils.proto_to_json(config), "example_splits": "null"}
        executor(context).Do(inputs, outputs, properties)
        verdict = Verdict.from_json((project / "evaluation" / "verdict.json").read_text())
        readout = json.loads((project / "evaluation" / "readout.json").read_text())
        return verdict, readout, (project / "blessing" / "BLESSED").exists()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("kind", ["binary", "number"])
def test_a_better_and_a_worse_model_in_both_orders(bench: Bench, kind: str) -> None:
    asked = BINARY if kind == "binary" else NUMBER
    metric, bound, worse = _BOUNDS[kind]
    for candidate, baseline in ((1.0, 0.5), (0.5, 1.0), (1.0, 1.0)):
        verdict, readout, is_blessed = bench.evaluate(kind, asked, candidate, baseline)
        found = _one(verdict, f"{metric}.{bound}")
        assert found.measured is not None and found.baseline is not None
        moved = found.measured - found.baseline
        assert f"({moved:+.4f}); may be at most 0.02 " in found.text
        is_worse, is_better = candidate < baseline, candidate > baseline
        assert (moved * worse > 0, moved * worse < 0) == (is_worse, is_better)
        assert found.outcome is (Outcome.BLOCKED if is_worse else Outcome.PASSED)
        assert is_blessed is not is_worse
        assert readout["rows"] == {"": 226, "c=a": 200, "c=b": 26, "span=1": 226}
        assert {r.rows for r in verdict.reasons} <= {226, 200, 26}


def test_rows_that_are_the_same_have_one_fingerprint(bench: Bench) -> None:
    def fingerprint(kind: str, slope: float) -> str:
        asked = BINARY if kind == "binary" else NUMBER
        return str(bench.evaluate(kind, asked, slope)[1]["fingerprint"])

    first = fingerprint("binary", 1.0)
    assert len(first) == 64
    assert first == fingerprint("binary", 0.5)
    assert first != fingerprint("number", 1.0)


@pytest.mark.parametrize("executor", [evaluator.Executor, tfx_executors.Evaluator])
@pytest.mark.parametrize(("policy", "outcome"), [(None, "warned"), ("block", "blocked")])
def test_a_slice_of_one_class_has_no_auc(
    bench: Bench, executor: type, policy: str | None, outcome: str
) -> None:
    limit: dict[str, Any] = {"keys": ["c"], "min": 0.6}
    if policy is not None:
        limit["undefined"] = policy
    asked = {**BINARY, "thresholds": {"auc": {"min": 0.6, "slices": [limit]}}}
    verdict, readout, is_blessed = bench.evaluate("binary", asked, 1.0, executor=executor)
    found = _one(verdict, "auc.min", "c=b")
    why = "26 rows, no positive"
    assert found.text == f"auc on c=b: undefined ({why}); must be at least 0.6"
    # TFX's own validation blocks what it takes for an AUC of 0.
    expected = Outcome.BLOCKED if executor is tfx_executors.Evaluator else Outcome(outcome)
    assert found.outcome is verdict.outcome is expected
    assert is_blessed is not verdict.is_blocked
    entries = {(e["slice"], e["name"]): e for e in readout["metrics"]}
    for name in ("auc", "auc_precision_recall", "precision"):
        assert entries["c=b", name]["undefined"].startswith("26 rows, no"), name
        assert "value" not in entries["c=b", name]
    assert entries["c=b", "binary_accuracy"]["value"] > 0.5


def test_an_accuracy_that_the_majority_class_reaches_warns(bench: Bench) -> None:
    asked = {**BINARY, "thresholds": {"binary_accuracy": {"min": 0.6}, "auc": {"min": 0.6}}}
    verdict, readout, is_blessed = bench.evaluate("binary", asked, 1.0)
    assert is_blessed and verdict.outcome is Outcome.WARNED
    found = _one(verdict, "binary_accuracy.min")
    positives = sum(
        tf.train.Example.FromString(row).features.feature["y"].float_list.value[0]
        for row in rows("binary")
    )
    share = 1 - positives / 226
    assert found.trivial == pytest.approx(share, abs=1e-4)
    assert f"would be passed by always answering '0' ({share:.4f})" in found.text
    (entry,) = (e for e in readout["metrics"] if (e["slice"], e["name"]) == ("", "auc"))
    assert set(entry["trivial"].values()) == {0.5}
    assert _one(verdict, "auc.min").outcome is Outcome.PASSED


def test_predictions_that_are_nan_block(bench: Bench) -> None:
    """TFMA leaves such rows out of a mean error, which looks well without them."""
    asked = {**NUMBER, "thresholds": {"mean_absolute_error": {"max": 1.0}}}
    verdict, _, is_blessed = bench.evaluate("number", asked, _HOLES)
    found = _one(verdict, "prediction.nan")
    assert found.measured is not None and 0 < found.measured < 100
    assert found.text == f"the model predicts NaN for {found.measured:g} of 226 rows"
    assert _one(verdict, "mean_absolute_error.max").measured < 0.2
    assert not is_blessed


def _one(verdict: Verdict, kind: str, where: str = "") -> Reason:
    (found,) = (r for r in verdict.reasons if (r.kind, r.where) == (kind, where))
    return found


def _artifact(kind: Any, folder: Path) -> Any:
    found = kind()
    found.uri = str(folder)
    return found


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
