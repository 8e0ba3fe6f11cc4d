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
from collections.abc import Mapping
from typing import Any

import numpy as np

from ordain.serving.server.codec import v2 as inference
from ordain.serving.server.codec.json_values import decode_base64, decode_elements, encode_tensor
from ordain.serving.server.codec.tensors import Array, Arrays, TensorSpec
from ordain.serving.server.errors import Code, RequestError, invalid, not_found
from ordain.serving.server.models.loaded_model import LoadedModel
from ordain.serving.server.rest import json_text
from ordain.serving.server.rest.router import HttpRequest, Protocol, Response
from ordain.serving.server.service import Service

_MODEL = re.compile(
    r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?(?:/(?P<method>ready|infer))?"
)
_BASE64 = {"content_type": "base64"}
#: Header of the binary tensor extension.
_BINARY_HEADER = "Inference-Header-Content-Length"


class InferenceRest(Protocol):
    """The Open Inference Protocol v2, below `/v2`."""

    name = "v2"

    def __init__(self, service: Service) -> None:
        self._service = service

    def matches(self, path: str) -> bool:
        """True if a path is `/v2` or below."""
        return path == "/v2" or path.startswith("/v2/")

    def is_public(self, path: str) -> bool:
        """True if a path reports health only, which needs no token."""
        return path.startswith("/v2/health/") or path.endswith("/ready")

    async def respond(self, request: HttpRequest) -> Response:
        """Answers one request.

        Raises:
            RequestError: The path is invalid, or the request cannot be answered.
        """
        path = request.path.rstrip("/")
        match = _MODEL.fullmatch(path)
        if match is not None:
            return await self._respond_model(request, match)
        documents = {
            "/v2": ("server", self._server),
            "/v2/health/live": ("live", lambda: {"live": self._service.is_live}),
            "/v2/health/ready": ("ready", lambda: self._ready(request)),
        }
        if path not in documents:
            raise not_found(f"no such path: {path}")
        _require_verb(request, "GET")
        request.method, make = documents[path]
        document = make()
        is_unready = document.get("ready", document.get("live")) is False
        return Response(json_text.write(document), Code.UNAVAILABLE if is_unready else Code.OK)

    def _ready(self, request: HttpRequest) -> dict[str, Any]:
        document: dict[str, Any] = {"ready": self._service.is_ready}
        # Anyone may ask whether the server is ready; the reasons need the token.
        problems = self._service.problems if request.is_authorized else []
        return document | ({"problems": problems} if problems else {})

    def _server(self) -> dict[str, Any]:
        return {
            "name": inference.SERVER,
            "version": inference.server_version(),
            "extensions": [],
        }

    async def _respond_model(self, request: HttpRequest, match: re.Match[str]) -> Response:
        request.method = match["method"] or "metadata"
        name = request.set_model(match["name"])
        _require_verb(request, "POST" if request.method == "infer" else "GET")
        version = inference.parse_version(match["version"] or "")
        if request.method == "ready":
            is_ready = self._service.is_model_ready(name, version)
            document = {"name": name, "ready": is_ready}
            if not is_ready and request.is_authorized:
                document["reason"] = self._service.why_not_ready(version)
            code = Code.OK if is_ready else Code.UNAVAILABLE
            return Response(json_text.write(document), code)
        if request.method == "metadata":
            with request.lease(name, version, request_id=None) as served:
                document = describe(name, self._service.versions, served.model)
                return Response(json_text.write(document))
        return await self._infer(request, name, version)

    async def _infer(self, request: HttpRequest, name: str, version: int | None) -> Response:
        if request.header(_BINARY_HEADER) is not None:
            raise invalid("binary tensors are not supported over REST; use gRPC")
        document = json_text.parse_object(await request.read(), self._service.settings.max_depth)
        body_id = document.get("id", "")
        if not isinstance(body_id, str):
            raise invalid("'id' must be a string")
        signature, label = inference.parameters_of(_object(document, "parameters"))
        wanted = [_name_of(output, "outputs") for output in _list(document, "outputs")]
        given = decode_inputs(_list(document, "inputs"))
        with request.lease(name, version, label, request.request_id or body_id) as served:
            outputs = await self._service.call(served, signature, given)
            chosen = inference.select_outputs(outputs, wanted)
            result: dict[str, Any] = {"model_name": name, "model_version": request.version}
            result |= {"id": body_id} if body_id else {}
            result["outputs"] = [encode_output(n, array) for n, array in chosen.items()]
        return Response(json_text.write(result))


def describe(name: str, versions: list[int], model: LoadedModel) -> dict[str, Any]:
    """Builds the metadata document of a model."""
    inputs, outputs = inference.described(model)
    return {
        "name": name,
        "versions": [str(version) for version in versions],
        "platform": inference.PLATFORM,
        "inputs": [_describe_tensor(spec) for spec in inputs],
        "outputs": [_describe_tensor(spec) for spec in outputs],
    }


def decode_inputs(tensors: list[Any]) -> Arrays:
    """Decodes the `inputs` of a request into arrays by name.

    Raises:
        RequestError: A tensor violates the protocol.
    """
    arrays: Arrays = {}
    for tensor in tensors:
        name = _name_of(tensor, "inputs")
        if name in arrays:
            raise invalid(f"input {name!r} is given twice")
        kind = inference.element_type(name, tensor.get("datatype"))
        shape = inference.check_shape(name, tensor.get("shape"))
        if "data" not in tensor:
            raise invalid(f"input {name!r} has no 'data'")
        values = _flatten(tensor["data"])
        if kind.is_string and _object(tensor, "parameters").get("content_type") == "base64":
            if not all(isinstance(value, str) for value in values):
                raise invalid(f"input {name!r}: base64 data must be strings")
            flat = np.empty(len(values), dtype=object)
            flat[:] = [decode_base64(value) for value in values]
        else:
            flat = decode_elements(values, kind)
        arrays[name] = inference.fit(name, flat, shape)
    return arrays


def encode_output(name: str, array: Array) -> dict[str, Any]:
    """Encodes an output tensor, with flat, row-major data."""
    tensor: dict[str, Any] = {
        "name": name,
        "shape": list(array.shape),
        "datatype": inference.datatype_of(name, array),
    }
    if array.dtype == object:
        items = [bytes(item) for item in array.ravel()]
        try:
            return {**tensor, "data": [item.decode("utf-8") for item in items]}
        except UnicodeDecodeError:
            texts = [base64.b64encode(item).decode("ascii") for item in items]
            return {**tensor, "parameters": _BASE64, "data": texts}
    return {**tensor, "data": encode_tensor(array.reshape(-1), name)}


def _describe_tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.type.v2, "shape": inference.shape_of(spec)}


def _flatten(data: Any) -> list[Any]:
    """Flattens data, which may be flat or nested, in row-major order."""
    flat = data if isinstance(data, list) else [data]
    while any(isinstance(item, list) for item in flat):
        flat = [inner for item in flat for inner in (item if isinstance(item, list) else [item])]
    return flat


def _require_verb(request: HttpRequest, verb: str) -> None:
    if request.verb != verb:
        raise RequestError(Code.METHOD_NOT_ALLOWED, f"{request.path} takes {verb}")


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
