"""The Open Inference Protocol v2 over REST, with tensors as JSON.

    GET  /v2, /v2/health/live, /v2/health/ready
    GET  /v2/models/NAME[/versions/V], .../ready
    POST /v2/models/NAME[/versions/V]/infer

Binary tensors are not supported over REST, only over gRPC. Byte strings are JSON strings, or
base64 with `"parameters": {"content_type": "base64"}` on the tensor if they are not UTF-8.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ordain.serving.server.codec import v2 as inference
from ordain.serving.server.codec.json_values import decode_base64, decode_tensor, encode_tensor
from ordain.serving.server.codec.tensors import Array, Arrays, ElementType, strings
from ordain.serving.server.errors import Code, invalid, not_found
from ordain.serving.server.rest import json_text
from ordain.serving.server.rest.body import read_body
from ordain.serving.server.rest.router import HttpRequest

_MODEL = re.compile(
    r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?(?:/(?P<method>ready|infer))?"
)
_BASE64 = {"content_type": "base64"}
#: Header of the binary tensor extension.
_BINARY_HEADER = "Inference-Header-Content-Length"


async def respond(request: HttpRequest) -> dict[str, Any]:
    """Answers a request to `/v2` or below.

    Raises:
        RequestError: The path is invalid, or the request cannot be answered.
    """
    path = request.path.rstrip("/")
    match = _MODEL.fullmatch(path)
    if match is not None:
        return await _respond_model(request, match)
    documents: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
        "/v2": ("server", inference.server_metadata),
        "/v2/health/live": ("live", partial(_live, request)),
        "/v2/health/ready": ("ready", partial(_ready, request)),
    }
    if path not in documents:
        raise not_found(f"no such path: {path}")
    request.require_verb("GET")
    request.method, make = documents[path]
    return make()


def _live(request: HttpRequest) -> dict[str, Any]:
    return _health(request, "live", request.service.is_live)


def _ready(request: HttpRequest) -> dict[str, Any]:
    document = _health(request, "ready", request.service.is_ready)
    # Anyone may ask whether the server is ready; the reasons need the token.
    problems = request.service.problems if request.is_authorized else []
    return document | ({"problems": problems} if problems else {})


def _health(request: HttpRequest, key: str, is_well: bool) -> dict[str, Any]:
    request.code = Code.OK if is_well else Code.UNAVAILABLE
    return {key: is_well}


async def _respond_model(request: HttpRequest, match: re.Match[str]) -> dict[str, Any]:
    request.method = match["method"] or "metadata"
    name = request.set_model(match["name"])
    request.require_verb("POST" if request.method == "infer" else "GET")
    version = inference.parse_version(match["version"] or "")
    service = request.service
    if request.method == "infer":
        return await _infer(request, name, version)
    if request.method == "metadata":
        with request.lease(name, version) as served:
            return inference.model_metadata(name, service.versions, served.model)
    is_ready = service.is_model_ready(name, version)
    document = {"name": name} | _health(request, "ready", is_ready)
    if not is_ready and request.is_authorized:
        document["reason"] = service.why_not_ready(version)
    return document


async def _infer(request: HttpRequest, name: str, version: int | None) -> dict[str, Any]:
    if _BINARY_HEADER in request.raw.headers:
        raise invalid("binary tensors are not supported over REST; use gRPC")
    document = json_text.parse_object(await read_body(request.raw, request.service.settings))
    body_id = document.get("id", "")
    if not isinstance(body_id, str):
        raise invalid("'id' must be a string")
    signature, label = inference.parameters_of(_object(document, "parameters"))
    wanted = [_name_of(output, "outputs") for output in _list(document, "outputs")]
    given: Arrays = {}
    for tensor in _list(document, "inputs"):
        key, decode = _name_of(tensor, "inputs"), partial(_decode, tensor)
        inference.add_input(given, key, tensor.get("datatype"), tensor.get("shape"), decode)
    with request.lease(name, version, label, request.request_id or body_id) as served:
        outputs = await request.service.call(served, signature, given)
        chosen = inference.select_outputs(outputs, wanted)
        result: dict[str, Any] = {"model_name": name, "model_version": request.version}
        result |= {"id": body_id} if body_id else {}
        return result | {"outputs": [_encode(n, array) for n, array in chosen.items()]}


def _decode(tensor: Mapping[str, Any], kind: ElementType) -> Array:
    """Decodes data, which may be flat or nested, in row-major order."""
    if "data" not in tensor:
        raise invalid(f"input {tensor['name']!r} has no 'data'")
    flat = decode_tensor(tensor["data"], kind).ravel()
    if kind.is_string and _object(tensor, "parameters").get("content_type") == "base64":
        return strings([decode_base64(item.decode("latin-1")) for item in flat])
    return flat


def _encode(name: str, array: Array) -> dict[str, Any]:
    """Encodes an output tensor, with flat, row-major data."""
    datatype = inference.datatype_of(name, array)
    tensor = {"name": name, "shape": list(array.shape), "datatype": datatype}
    if array.dtype == object:
        items = [bytes(item) for item in array.ravel()]
        try:
            return {**tensor, "data": [item.decode("utf-8") for item in items]}
        except UnicodeDecodeError:
            texts = [base64.b64encode(item).decode("ascii") for item in items]
            return {**tensor, "parameters": _BASE64, "data": texts}
    return {**tensor, "data": encode_tensor(array.reshape(-1), name)}


def _object(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise invalid(f"{key!r} must be an object")
    return value


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key, [])
    if not isinstance(value, list):
        raise invalid(f"{key!r} must be a list")
    return value


def _name_of(tensor: Any, where: str) -> str:
    name = tensor.get("name") if isinstance(tensor, dict) else None
    if not isinstance(name, str) or not name:
        raise invalid(f"each of {where!r} must be an object with a 'name'")
    return name
