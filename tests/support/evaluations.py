"""Evaluations of models whose predictions are known to the last bit: they hand back a column."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
import tensorflow_transform as tft
import yaml
from sandbox import PROJECTS
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from ordain import export_model
from ordain.components.artifacts.types import VERDICT_FILE
from ordain.components.evaluator import executor as evaluator
from ordain.config.loading import load_project
from ordain.config.project import DEFAULT_BEAM_ARGS
from ordain.pipeline.eval_config import build_eval_config
from ordain.verdict import Reason, Verdict

#: Columns beside the predictions and the label: a query, and a document's gain in it.
SCHEMA = """
feature { name: "p" type: FLOAT presence { min_fraction: 1 } shape { dim { size: WIDTH } } }
feature { name: "q" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "g" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "y" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } } }
"""


class _Columns:
    """Stands for Transform's output where nothing is transformed."""

    raw_metadata = tft.DatasetMetadata(schema_pb2.Schema())

    def __init__(self, width: int) -> None:
        self._width = width

    def raw_feature_spec(self) -> dict[str, Any]:
        return {
            "p": tf.io.FixedLenFeature([self._width], tf.float32),
            "q": tf.io.FixedLenFeature([1], tf.int64),
            "g": tf.io.FixedLenFeature([1], tf.float32),
            "y": tf.io.FixedLenFeature([1], tf.int64),
        }

    def transform_features_layer(self) -> Any:
        return keras.layers.Lambda(lambda raw: {"p_xf": raw["p"]})


@dataclass
class Evaluation:
    """What the Evaluator left."""

    folder: Path
    is_blessed: bool
    verdict: Verdict

    @property
    def values(self) -> dict[str, dict[str, Any]]:
        """Metrics of the whole window as `readout.json` has them, by name."""
        entries = self.readout["metrics"]
        return {entry["name"]: entry for entry in entries if not entry["slice"]}

    @property
    def readout(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "readout.json").read_text())
        return found

    def reason(self, kind: str) -> Reason:
        """The reason of that kind about the whole window."""
        (found,) = (r for r in self.verdict.reasons if r.kind == kind and not r.where)
        return found


class Rows:
    """An eval split, models of it, and the Evaluator over them.

    Args:
        folder: Where everything goes.
        predictions: `[rows, width] float32`.
        labels: `[rows] int`.
        queries: `[rows] int`; one query without it.
        gains: `[rows] float`.
    """

    def __init__(
        self, folder: Path, predictions: Any, labels: Any, queries: Any = None, gains: Any = None
    ) -> None:
        self.folder = folder
        self.width = predictions.shape[1]
        text = SCHEMA.replace("WIDTH", str(self.width))
        (folder / "schema").mkdir(parents=True)
        (folder / "schema" / "schema.pbtxt").write_text(text)
        split = folder / "examples" / "Split-eval"
        split.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(split / "data.gz"), "GZIP") as file:
            for i, row in enumerate(predictions):
                example = tf.train.Example()
                columns = example.features.feature
                columns["p"].float_list.value.extend(row)
                columns["q"].int64_list.value.append(0 if queries is None else int(queries[i]))
                columns["g"].float_list.value.append(0 if gains is None else float(gains[i]))
                columns["y"].int64_list.value.append(int(labels[i]))
                file.write(example.SerializeToString())

    def model(self, scale: float = 1.0, shift: float = 0.0, **options: Any) -> Any:
        """A model that predicts `scale * p + shift`, exported as a project exports one."""
        number = len(list(self.folder.glob("model-*")))
        folder = self.folder / f"model-{number}"
        column = keras.Input((self.width,), name="p_xf")
        output = keras.layers.Rescaling(scale, shift)(column)
        options.setdefault("classes", None if self.width == 1 else list(range(self.width)))
        target = str(folder / "Format-Serving")
        export_model(keras.Model(column, output), _Columns(self.width), target, "y", **options)
        return _artifact(standard_artifacts.Model, folder)

    def evaluate(self, model: Any, baseline: Any = None, **evaluate: Any) -> Evaluation:
        """Runs the Evaluator with a section `evaluate` of pipeline.yaml."""
        number = len(list(self.folder.glob("evaluation-*")))
        target = self.folder / f"evaluation-{number}"
        project = target / "project"
        shutil.copytree(PROJECTS / "small", project)
        raw = yaml.safe_load((project / "pipeline.yaml").read_text())
        (project / "pipeline.yaml").write_text(yaml.safe_dump({**raw, "evaluate": evaluate}))
        config = build_eval_config(load_project(project), 1)
        examples = _artifact(standard_artifacts.Examples, self.folder / "examples")
        examples.span, examples.split_names = 1, '["eval"]'
        inputs = {
            "examples": [examples],
            "model": [model],
            "schema": [_artifact(standard_artifacts.Schema, self.folder / "schema")],
        }
        if baseline is not None:
            inputs["baseline_model"] = [baseline]
        outputs = {
            "evaluation": [_artifact(standard_artifacts.ModelEvaluation, target / "evaluation")],
            "blessing": [_artifact(standard_artifacts.ModelBlessing, target / "blessing")],
        }
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=list(DEFAULT_BEAM_ARGS), tmp_dir=str(target / "tmp"), unique_id="1"
        )
        (target / "blessing").mkdir()
        properties = {"eval_config": proto_utils.proto_to_json(config)}
        evaluator.Executor(context).Do(inputs, outputs, properties)
        verdict = Verdict.from_json((target / "evaluation" / VERDICT_FILE).read_text())
        is_blessed = (target / "blessing" / constants.BLESSED_FILE_NAME).exists()
        validation = tfma.load_validation_result(str(target / "evaluation"))
        # TFMA's own is for readers of its files, and has to come to the same. It looks for a
        # weighted macro average under another key than it gives it.
        if "weighted_macro_average" not in str(evaluate):
            assert validation.validation_ok == is_blessed, validation
        return Evaluation(target / "evaluation", is_blessed, verdict)


def _artifact(kind: Any, folder: Path) -> Any:
    found = kind()
    found.uri = str(folder)
    return found


def binary(folder: Path, rows: int = 400) -> tuple[Rows, Any, Any]:
    """Rows of a binary label with their predictions, of which many are exactly a threshold."""
    random = np.random.default_rng(5)
    labels = random.integers(0, 2, rows)
    raw = np.clip(random.normal(0.45 + 0.2 * labels, 0.2), 0.01, 0.99)
    predictions = np.round(raw, 2).astype(np.float32)
    return Rows(folder, predictions[:, None], labels), predictions, labels
