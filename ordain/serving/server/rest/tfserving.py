"""TensorFlow Serving's REST API (https://www.tensorflow.org/tfx/serving/api_rest).

POST /v1/models/NAME[/versions/N|/labels/L]:predict | :classify | :regress
GET  /v1/models/NAME[/versions/N|/labels/L]             status
GET  /v1/models/NAME[/versions/N|/labels/L]/metadata
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf import meta_graph_pb2

from ordain.serving.registry.versions import MAX_VERSION
from ordain.serving.server.codec import examples_json as examples
from ordain.serving.server.codec.predict_json import decode_predict, encode_predict, signature_name
from ordain.serving.server.errors import invalid
from ordain.serving.server.models.loaded_model import LoadedModel
from ordain.serving.server.models.routing import ServedVersion, VersionStatus
from ordain.serving.server.rest import json_text
from ordain.serving.server.rest.body import read_body
from ordain.serving.server.rest.router import HttpRequest

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)"
    r"(?:/versions/(?P<version>[^/:]+)|/labels/(?P<label>[^/:]+))?"
    r"(?::(?P<call>predict|classify|regress)|/(?P<read>metadata))?"
)


async def respond(request: HttpRequest) -> dict[str, Any]:
    """Answers a request below `/v1`.

    Raises:
        RequestError: The path or its version is invalid, or the request cannot be answered.
    """
    match = _PATH.fullmatch(request.path)
    call = match["call"] if match is not None else None
    if match is None or request.verb != ("POST" if call else "GET"):
        raise invalid(f"Malformed request: {request.verb} {request.path}")
    request.method = call or match["read"] or "status"
    name, version = request.set_model(match["name"]), _version(match["version"])
    label = match["label"] or ""
    if call:
        # As in TensorFlow Serving, errors of the body come before those of the model.
        body = await read_body(request.raw, request.service.settings)
        with request.lease(name, version, label, request.request_id) as served:
            return await _call(request, served, call, body)
    if match["read"]:
        with request.lease(name, version, label) as served:
            return _metadata(name, served.model)
    found = request.service.status(name, version, label)
    return {"model_version_status": [_status(status) for status in found]}


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= MAX_VERSION):
        raise invalid(f"Failed to convert version: {text} to numeric.")
    return int(text)


async def _call(
    request: HttpRequest, served: ServedVersion, method: str, body: bytes
) -> dict[str, Any]:
    document = json_text.parse_object(body)
    name = signature_name(document)
    signature = served.model.signature(name)
    if method == "predict":
        inputs, by_row = decode_predict(document, signature)
        return encode_predict(await request.service.call(served, name, inputs), by_row)
    serialized = examples.decode_examples(document, method)
    inputs = examples.examples_input(signature, method, serialized)
    outputs = await request.service.call(served, name, inputs)
    is_classified = method == "classify"
    return {"results": (examples.classes_of if is_classified else examples.values_of)(outputs)}


def _status(status: VersionStatus) -> dict[str, Any]:
    """`ModelVersionStatus` as JSON."""
    return {
        "version": str(status.version),
        "state": str(status.state),
        "status": {"error_code": status.code.name, "error_message": status.message},
    }


def _metadata(name: str, model: LoadedModel) -> dict[str, Any]:
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
