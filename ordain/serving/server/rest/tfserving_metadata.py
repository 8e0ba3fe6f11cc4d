"""JSON documents for a model's status and signatures, as TensorFlow Serving renders them."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf import meta_graph_pb2

from ordain.serving.server.models.loaded_model import LoadedModel
from ordain.serving.server.models.routing import VersionStatus


def status_document(statuses: list[VersionStatus]) -> dict[str, Any]:
    """`GetModelStatusResponse` as JSON."""
    return {
        "model_version_status": [
            {
                "version": str(status.version),
                "state": str(status.state),
                "status": {"error_code": status.code.name, "error_message": status.message},
            }
            for status in statuses
        ]
    }


def metadata_document(name: str, model: LoadedModel) -> dict[str, Any]:
    """`GetModelMetadataResponse` as JSON, including fields with default values."""
    definitions = {key: _definition(raw) for key, raw in sorted(model.signature_defs.items())}
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(model.version)},
        "metadata": {"signature_def": {"signature_def": definitions}},
    }


def _definition(raw: meta_graph_pb2.SignatureDef) -> dict[str, Any]:
    whole = MessageToDict(
        raw, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    kept = {key: whole[key] for key in ("inputs", "outputs", "method_name")}
    for side in ("inputs", "outputs"):
        for info in kept[side].values():
            info.setdefault("tensor_shape", {"dim": [], "unknown_rank": False})
    return kept
