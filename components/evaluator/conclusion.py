"""Steps after the metrics are computed: verdict, `readout.json`, and importance of features.

Shared by our executor and TFX's (`ordain.components.tfx_executors`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import tensorflow_model_analysis as tfma
from tfx.types import standard_component_specs

from ordain.components.artifacts.served_model import compared_with, note_compared
from ordain.components.artifacts.types import keep_verdict
from ordain.components.evaluator.importance import write_importance
from ordain.components.evaluator.measures import Measures, read_measures
from ordain.components.evaluator.results_json import evaluated_rows, folders_of, write_readout
from ordain.components.evaluator.verdict import judge
from ordain.verdict import Verdict

BASELINE = standard_component_specs.BASELINE_MODEL_KEY


def read_verdict(
    inputs: Mapping[str, list[Any]],
    evaluation: Any,
    wanted: Any,
    config: Any,
    blocks_undefined: bool = False,
) -> tuple[Verdict, Measures]:
    """Judges an evaluation whose metrics are written.

    Args:
        inputs: The Evaluator's inputs, as in ML Metadata.
        evaluation: The ModelEvaluation artifact.
        wanted: The project's `tfma.EvalConfig`.
        config: The one that was evaluated.
        blocks_undefined: True if what cannot be judged always blocks.

    Returns:
        The verdict and the measured values.
    """
    newest = max(artifact.span for artifact in inputs["examples"])
    measures = read_measures(config, list(tfma.load_metrics(evaluation.uri)))
    verdict = judge(config, measures, newest, blocks_undefined, limits=wanted)
    return replace(verdict, compared_with=compared_with(inputs, BASELINE)), measures


def write_conclusion(
    inputs: Mapping[str, list[Any]],
    evaluation: Any,
    config: Any,
    splits: list[str],
    verdict: Verdict,
    measures: Measures,
    schema: Any,
    loaded: Any,
) -> None:
    """Writes verdict, `readout.json` and importance of features into the evaluation.

    Args:
        inputs: The Evaluator's inputs, as in ML Metadata.
        evaluation: The ModelEvaluation artifact.
        config: The `tfma.EvalConfig` that was evaluated.
        splits: Evaluated splits.
        verdict: The verdict.
        measures: The measured values.
        schema: Schema of the examples.
        loaded: The candidate's SavedModel, loaded.
    """
    examples = inputs["examples"]
    keep_verdict(verdict, evaluation, inputs["model"])
    note_compared(evaluation, inputs, BASELINE)
    metrics = list(tfma.load_metrics(evaluation.uri))
    fingerprint = evaluated_rows(folders_of(examples, splits), measures)
    write_readout(evaluation.uri, config, metrics, measures, fingerprint)
    (candidate,) = (spec for spec in config.model_specs if not spec.is_baseline)
    write_importance(evaluation.uri, loaded, examples, splits, schema, candidate.label_key)
