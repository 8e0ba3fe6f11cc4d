"""Our artifact types, storage of verdicts in ML Metadata, and paths of models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tfx.dsl.io import fileio
from tfx.types import artifact
from tfx.utils import path_utils

from ordain.verdict import Verdict

#: An executor's inputs or outputs: artifacts by key.
Artifacts = dict[str, list[Any]]
VERDICT_FILE = "verdict.json"
#: Results of an evaluation, in its artifact (`evaluator/results_json.py`).
READOUT_FILE = "readout.json"
#: Custom properties of any artifact with a verdict.
VERDICT_PROPERTY = "verdict"
OUTCOME_PROPERTY = "outcome"
#: Ids of the judged artifacts. As text: on Vertex AI, which passes numbers as floats, they are
#: hashes of 63 bits.
JUDGED_PROPERTY = "judged"
#: A longer verdict is only in its file; databases limit a property's text.
MAX_PROPERTY_CHARS = 60_000


class GateVerdict(artifact.Artifact):
    """A gate's verdict: `verdict.json`, with the outcome also as a property."""

    TYPE_NAME = "GateVerdict"


def model_folder(model: Any) -> str:
    """The folder of the SavedModel in a Model artifact."""
    is_old = path_utils.is_old_model_artifact(model)
    return str(path_utils.serving_model_path(model.uri, is_old))


def keep_verdict(verdict: Verdict, target: Any, judged: Iterable[Any]) -> None:
    """Writes a verdict into an artifact's folder and its properties.

    Args:
        verdict: The verdict.
        target: The artifact that stores it.
        judged: The judged artifacts: a model, or a window's examples.
    """
    fileio.makedirs(target.uri)
    text = verdict.to_json()
    with fileio.open(f"{target.uri}/{VERDICT_FILE}", "w") as file:
        file.write(text)
    target.set_string_custom_property(OUTCOME_PROPERTY, str(verdict.outcome))
    target.set_string_custom_property(JUDGED_PROPERTY, ids_of(judged))
    if len(text) <= MAX_PROPERTY_CHARS:
        target.set_string_custom_property(VERDICT_PROPERTY, text)


def ids_of(artifacts: Iterable[Any]) -> str:
    """Sorted ids of artifacts, as in `JUDGED_PROPERTY`."""
    return ",".join(str(number) for number in sorted(int(a.id) for a in artifacts))
