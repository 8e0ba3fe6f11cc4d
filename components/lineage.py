"""What the publisher's inputs say about a model: the facts that its manifest keeps.

Everything is read from the artifacts themselves, so that the manifest tells of what this model
was made of, not of what the configuration says by now.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import message
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import dtypes
from tfx.dsl.io import fileio

from components.artifacts import VERDICT_FILE
from contracts.errors import InfrastructureError
from contracts.manifest import Manifest, Metric, Signature, Tensor
from contracts.verdict import Verdict

#: Inputs of the publisher that describe the model; the gates' order is that of the chain.
EXAMPLES, SCHEMA, EVALUATION, DATA_VERDICT = "examples", "schema", "evaluation", "data_verdict"
_GATES = (DATA_VERDICT, EVALUATION, "infra_blessing")
#: Name of the baseline among the models of an evaluation, as TFMA's configuration has it.
_BASELINE = "baseline"
#: SavedModel's tag for serving; other graphs of the same file are for training.
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
        inputs: The publisher's inputs by key; what is not there is left out.
        model: Folder of the SavedModel.
        project: The project's name.
        run_id: The run that publishes.
        source_fingerprint: Fingerprint of the project's source.
    """
    saved = _saved_model(model)
    return Manifest(
        project=project,
        version=0,
        created="",
        run_id=run_id,
        spans=tuple(sorted({int(artifact.span) for artifact in inputs.get(EXAMPLES, [])})),
        schema_fingerprint=_schema_fingerprint(inputs.get(SCHEMA, [])),
        source_fingerprint=source_fingerprint,
        tensorflow=_tensorflow(saved),
        metrics=tuple(m for artifact in inputs.get(EVALUATION, []) for m in _metrics(artifact.uri)),
        verdicts=tuple(
            verdict for key in _GATES for a in inputs.get(key, []) for verdict in _verdict(a.uri)
        ),
        signatures=_signatures(saved),
    )


def metrics_of(measured: Iterable[Any]) -> list[Metric]:
    """Scalar metrics of `MetricsForSlice` protos, the baseline's beside the candidate's.

    NaN is left out: it is no value, and no JSON.
    """
    values: dict[tuple[str, str], dict[bool, float]] = {}
    for entry in measured:
        where = ", ".join(sorted(map(_slice, entry.slice_key.single_slice_keys)))
        for pair in entry.metric_keys_and_values:
            key, value = pair.key, pair.value
            if key.is_diff or not value.HasField("double_value"):
                continue
            number = value.double_value.value
            if not math.isfinite(number):
                continue
            both = values.setdefault((where, key.name), {})
            both[key.model_name == _BASELINE] = number
    return [
        Metric(name, both[False], where, both.get(True))
        for (where, name), both in sorted(values.items())
        if False in both
    ]


def _metrics(uri: str) -> list[Metric]:
    import tensorflow_model_analysis as tfma  # noqa: PLC0415  seconds, unless it is loaded anyway

    return metrics_of(tfma.load_metrics(uri))


def _slice(key: Any) -> str:
    kind = key.WhichOneof("kind")
    value = getattr(key, kind) if kind else ""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return f"{key.column}={text}"


def _verdict(uri: str) -> list[Verdict]:
    """The verdict that an artifact carries, if it carries one."""
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
            f"{path} cannot be read as a SavedModel: {error}", "ordain run PROJECT --from Trainer"
        ) from error
    return saved


def _tensorflow(saved: Any) -> str:
    """The version that wrote the graph; the one installed here may be another by now."""
    versions = {meta.meta_info_def.tensorflow_version for meta in saved.meta_graphs}
    return ", ".join(sorted(versions - {""}))


def _signatures(saved: Any) -> dict[str, Signature]:
    found = {}
    for meta in saved.meta_graphs:
        if _SERVE not in meta.meta_info_def.tags:
            continue
        for name, signature in meta.signature_def.items():
            if not name.startswith("__"):  # __saved_model_init_op is the loader's
                found[name] = Signature(_tensors(signature.inputs), _tensors(signature.outputs))
    return found


def _tensors(raw: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: Tensor(dtypes.as_dtype(t.dtype).name, _shape(t)) for name, t in raw.items()}


def _shape(tensor: Any) -> tuple[int | None, ...] | None:
    if tensor.tensor_shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else int(dim.size) for dim in tensor.tensor_shape.dim)
