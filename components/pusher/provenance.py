"""Provenance of a model for its manifest, read from the publisher's inputs.

Everything is read from the artifacts, so that the manifest describes how this model was made, even
if the configuration has changed since.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import message
from tensorflow.core.protobuf import saved_model_pb2
from tfx.dsl.io import fileio

from ordain.components.artifacts.types import READOUT_FILE, VERDICT_FILE
from ordain.errors import InfrastructureError
from ordain.serving.export.description import Signature
from ordain.serving.export.saved_model_graph import signatures_of
from ordain.serving.registry.manifest import Manifest, Metric
from ordain.verdict import Verdict

#: Inputs of the publisher that describe the model; gates are in the order of the pipeline.
EXAMPLES, SCHEMA, EVALUATION, DATA_VERDICT = "examples", "schema", "evaluation", "data_verdict"
_GATES = (DATA_VERDICT, EVALUATION, "infra_blessing")
#: SavedModel's tag for serving; other graphs in the file are for training.
_SERVE = "serve"


def describe(
    inputs: Mapping[str, list[Any]],
    model: str,
    project: str,
    run_id: str,
    source_fingerprint: str,
) -> Manifest:
    """The manifest of a model that has no version yet.

    Args:
        inputs: The publisher's inputs by key; missing ones are skipped.
        model: Folder of the SavedModel.
        project: The project's name.
        run_id: The run that publishes.
        source_fingerprint: Fingerprint of the project's source.
    """
    saved = _saved_model(model)
    readout = _readout(inputs.get(EVALUATION, []))
    return Manifest(
        project=project,
        version=0,
        created="",
        run_id=run_id,
        spans=tuple(sorted({int(artifact.span) for artifact in inputs.get(EXAMPLES, [])})),
        schema_fingerprint=_schema_fingerprint(inputs.get(SCHEMA, [])),
        source_fingerprint=source_fingerprint,
        tensorflow=_tensorflow(saved),
        metrics=metrics_of(readout),
        evaluated=readout.get("fingerprint", ""),
        verdicts=tuple(
            verdict for key in _GATES for a in inputs.get(key, []) for verdict in _verdict(a.uri)
        ),
        signatures=_signatures(saved),
    )


def metrics_of(readout: Mapping[str, Any]) -> tuple[Metric, ...]:
    """Metrics of an evaluation, candidate and baseline.

    Args:
        readout: The content of `readout.json`.
    """
    found = [
        Metric(
            entry["name"],
            entry.get("value"),
            entry["slice"],
            entry.get("baseline"),
            entry.get("undefined", ""),
            entry.get("threshold"),
        )
        for entry in readout.get("metrics", ())
        if "value" in entry or "undefined" in entry
    ]
    return tuple(sorted(found, key=lambda metric: (metric.slice, metric.name)))


def _readout(artifacts: list[Any]) -> dict[str, Any]:
    """Content of `readout.json`; empty if another Evaluator wrote none."""
    for artifact in artifacts:
        path = f"{artifact.uri}/{READOUT_FILE}"
        if fileio.exists(path):
            with fileio.open(path) as file:
                return dict(json.loads(file.read()))
    return {}


def _verdict(uri: str) -> list[Verdict]:
    """The verdict of an artifact, if it has one."""
    path = f"{uri}/{VERDICT_FILE}"
    if not fileio.exists(path):
        return []
    with fileio.open(path) as file:
        return [Verdict.from_json(file.read())]


def _schema_fingerprint(artifacts: list[Any]) -> str:
    for artifact in artifacts:
        with fileio.open(f"{artifact.uri}/schema.pbtxt", "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    return ""


def _saved_model(model: str) -> Any:
    path = Path(model, "saved_model.pb")
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(path.read_bytes())
    except (OSError, message.DecodeError) as error:
        raise InfrastructureError(
            f"{path}: cannot be read as a SavedModel: {error}", "ordain run PROJECT --from Trainer"
        ) from error
    return saved


def _tensorflow(saved: Any) -> str:
    """TensorFlow's version that wrote the graph; the installed one may differ."""
    versions = {meta.meta_info_def.tensorflow_version for meta in saved.meta_graphs}
    return ", ".join(sorted(versions - {""}))


def _signatures(saved: Any) -> dict[str, Signature]:
    found: dict[str, Signature] = {}
    for meta in saved.meta_graphs:
        if _SERVE in meta.meta_info_def.tags:
            found |= signatures_of(meta)
    return found
