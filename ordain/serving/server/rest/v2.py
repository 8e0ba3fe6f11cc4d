"""The Open Inference Protocol v2 over REST, with tensors as JSON.

    GET  /v2, /v2/health/live, /v2/health/ready
    GET  /v2/models/NAME[/versions/V], .../ready
    POST /v2/models/NAME[/versions/V]/infer

The binary tensor extension is not spoken; gRPC carries raw tensors. Bytes are JSON texts; where
they are no UTF-8, base64 with `"parameters": {"content_type": "base64"}` on the tensor.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from aiohttp import hdrs

from ordain.serving.server.codec import v2 as inference
from ordain.serving.server.codec.json_values import decode_base64, decode_elements, encode_tensor
from ordain.serving.server.codec.tensors import Array, Arrays, TensorSpec
from ordain.serving.server.errors import Code, RequestError, invalid, not_found
from ordain.serving.server.models.loaded_model import LoadedModel
from ordain.serving.server.rest import json_text
from ordain.serving.server.rest.front import Answer, Asked, Protocol, failure
from ordain.serving.server.security import is_authorized
from ordain.serving.server.service import Service

_MODEL = re.compile(
    r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?(?:/(?P<method>ready|infer))?"
)
_BASE64 = {"content_type": "base64"}
#: Header of the binary tensor extension.
_BINARY_HEADER = "Inference-Header-Content-Length"


class InferenceRest(Protocol):
    """Answers the paths below `/v2`."""

    name = "v2"

    def __init__(self, service: Service) -> None:
        self._service = service

    def knows(self, path: str) -> bool:
        """Whether a path is `/v2` or below."""
        return path == "/v2" or path.startswith("/v2/")

    def is_free(self, path: str) -> bool:
        """Whether a path tells of health only, which needs no token."""
        return path.startswith("/v2/health/") or path.endswith("/ready")

    async def answer(self, asked: Asked) -> Answer:
        """Answers one request.

        Raises:
            RequestError: The path means nothing here.
        """
        answer = Answer(b"", protocol=self.name)
        path = asked.path.rstrip("/")
        match = _MODEL.fullmatch(path)
        if match is not None:
            return await self._answer_model(asked, match)
        documents = {
            "/v2": ("server", self._server),
            "/v2/health/live": ("live", lambda: {"live": self._service.is_live}),
            "/v2/health/ready": ("ready", lambda: self._ready(asked)),
        }
        if path not in documents:
            raise not_found(f"there is nothing at {path}")
        _want_method(asked, "GET")
        method, make = documents[path]
        document = make()
        is_unready = document.get("ready", document.get("live")) is False
        code = Code.UNAVAILABLE if is_unready else Code.OK
        return replace(answer, body=json_text.write(document), code=code, method=method)

    def _ready(self, asked: Asked) -> dict[str, Any]:
        document: dict[str, Any] = {"ready": self._service.is_ready}
        problems = self._service.problems if self._may_know(asked) else []
        return document | ({"problems": problems} if problems else {})

    def _may_know(self, asked: Asked) -> bool:
        """True if a request that needs no token has it: reasons are not for everybody."""
        return is_authorized(asked.header(hdrs.AUTHORIZATION), self._service.settings.token)

    def _server(self) -> dict[str, Any]:
        return {
            "name": inference.SERVER,
            "version": inference.server_version(),
            "extensions": [],
        }

    async def _answer_model(self, asked: Asked, match: re.Match[str]) -> Answer:
        name, method = match["name"], match["method"] or "metadata"
        model = name if name == self._service.settings.name else ""
        answer = Answer(b"", protocol=self.name, method=method, model=model)
        try:
            _want_method(asked, "POST" if method == "infer" else "GET")
            version = inference.parse_version(match["version"] or "")
            if method == "ready":
                is_ready = self._service.is_model_ready(name, version)
                document = {"name": name, "ready": is_ready}
                if not is_ready and self._may_know(asked):
                    document["reason"] = self._service.why_not_ready(version)
                body = json_text.write(document)
                return replace(answer, body=body, code=Code.OK if is_ready else Code.UNAVAILABLE)
            if method == "metadata":
                with self._service.lease(name, version, request_id=None) as served:
                    document = describe(name, self._service.versions, served.model)
                    return replace(
                        answer, body=json_text.write(document), version=str(served.version)
                    )
            return await self._infer(asked, name, version, answer)
        except RequestError as error:
            return failure(answer, error)

    async def _infer(self, asked: Asked, name: str, version: int | None, answer: Answer) -> Answer:
        if asked.header(_BINARY_HEADER) is not None:
            raise invalid(
                "the binary tensor extension is not spoken here; gRPC carries raw tensors"
            )
        document = json_text.parse_object(await asked.read(), self._service.settings.max_depth)
        request_id = document.get("id", "")
        if not isinstance(request_id, str):
            raise invalid("'id' is a text")
        signature, label = inference.parameters_of(_object(document, "parameters"))
        wanted = [_name_of(output, "outputs") for output in _list(document, "outputs")]
        given = decode_inputs(_list(document, "inputs"))
        with self._service.lease(name, version, label, asked.request_id or request_id) as served:
            answer = replace(answer, version=str(served.version))
            try:
                outputs = await self._service.call(served, signature, given)
                chosen = inference.select_outputs(outputs, wanted)
                result: dict[str, Any] = {"model_name": name, "model_version": answer.version}
                result |= {"id": request_id} if request_id else {}
                result["outputs"] = [encode_output(n, array) for n, array in chosen.items()]
            except RequestError as error:
                return failure(answer, error)
        return replace(answer, body=json_text.write(result))


def describe(name: str, versions: list[int], model: LoadedModel) -> dict[str, Any]:
    """A model's metadata."""
    inputs, outputs = inference.described(model)
    return {
        "name": name,
        "versions": [str(version) for version in versions],
        "platform": inference.PLATFORM,
        "inputs": [_describe_tensor(spec) for spec in inputs],
        "outputs": [_describe_tensor(spec) for spec in outputs],
    }


def decode_inputs(tensors: list[Any]) -> Arrays:
    """The arrays of a request's `inputs`.

    Raises:
        RequestError: One of them is not formed as the protocol says.
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
                raise invalid(f"input {name!r}: base64 is text")
            flat = np.empty(len(values), dtype=object)
            flat[:] = [decode_base64(value) for value in values]
        else:
            flat = decode_elements(values, kind)
        arrays[name] = inference.fit(name, flat, shape)
    return arrays


def encode_output(name: str, array: Array) -> dict[str, Any]:
    """An output tensor, its data flat and row-major."""
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
    """Data may come flat or nested; either way its order is row-major."""
    flat = data if isinstance(data, list) else [data]
    while any(isinstance(item, list) for item in flat):
        flat = [inner for item in flat for inner in (item if isinstance(item, list) else [item])]
    return flat


def _want_method(asked: Asked, method: str) -> None:
    if asked.method != method:
        raise RequestError(Code.METHOD_NOT_ALLOWED, f"{asked.path} takes {method}")


def _object(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise invalid(f"{key!r} is an object")
    return value


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key, [])
    if not isinstance(value, list):
        raise invalid(f"{key!r} is a list")
    return value


def _name_of(tensor: Any, where: str) -> str:
    name = tensor.get("name") if isinstance(tensor, dict) else None
    if not isinstance(name, str) or not name:
        raise invalid(f"each of {where!r} is an object with a 'name'")
    return name
