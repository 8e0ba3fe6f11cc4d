"""Artifact types of our own, how a verdict is kept in ML Metadata, and where a model lies."""

from __future__ import annotations

from typing import Any

from tfx.dsl.io import fileio
from tfx.types import artifact
from tfx.utils import path_utils

from contracts.verdict import Verdict

VERDICT_FILE = "verdict.json"
#: What an evaluation measured, in its artifact (`evaluation_readout`).
READOUT_FILE = "readout.json"
#: Custom properties that any artifact carrying a verdict has.
VERDICT_PROPERTY = "verdict"
OUTCOME_PROPERTY = "outcome"
#: A verdict longer than this stays in its file only; databases bound a property's text.
MAX_PROPERTY_CHARS = 60_000


class GateVerdict(artifact.Artifact):
    """What a gate answered: `verdict.json`, with the outcome also as a property."""

    TYPE_NAME = "GateVerdict"


def model_folder(model: Any) -> str:
    """The folder of the SavedModel in a Model artifact."""
    is_old = path_utils.is_old_model_artifact(model)
    return str(path_utils.serving_model_path(model.uri, is_old))


def keep_verdict(verdict: Verdict, target: Any) -> None:
    """Writes a verdict into an artifact's folder and its properties."""
    fileio.makedirs(target.uri)
    text = verdict.to_json()
    with fileio.open(f"{target.uri}/{VERDICT_FILE}", "w") as file:
        file.write(text)
    target.set_string_custom_property(OUTCOME_PROPERTY, str(verdict.outcome))
    if len(text) <= MAX_PROPERTY_CHARS:
        target.set_string_custom_property(VERDICT_PROPERTY, text)
