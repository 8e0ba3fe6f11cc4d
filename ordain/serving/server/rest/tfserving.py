"""TensorFlow Serving's REST API (https://www.tensorflow.org/tfx/serving/api_rest).

POST /v1/models/NAME[/versions/N|/labels/L]:predict | :classify | :regress
GET  /v1/models/NAME[/versions/N|/labels/L]             status
GET  /v1/models/NAME[/versions/N|/labels/L]/metadata
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ordain.serving.registry.versions import MAX_VERSION
from ordain.serving.server.codec import examples_json as examples
from ordain.serving.server.codec.predict_json import decode_predict, encode_predict, signature_name
from ordain.serving.server.errors import invalid
from ordain.serving.server.models.routing import ServedVersion
from ordain.serving.server.rest import json_text
from ordain.serving.server.rest.router import HttpRequest, Protocol, Response
from ordain.serving.server.rest.tfserving_metadata import metadata_document, status_document
from ordain.serving.server.service import Service

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)"
    r"(?:/versions/(?P<version>[^/:]+)|/labels/(?P<label>[^/:]+))?"
    r"(?::(?P<method>predict|classify|regress)|(?P<metadata>/metadata))?"
)


@dataclass(frozen=True)
class Target:
    """Target of a path.

    Attributes:
        name: The model.
        version: Its version, or None.
        label: Its label, or empty.
        method: `predict`, `classify`, `regress`, `metadata` or `status`.
    """

    name: str
    version: int | None
    label: str
    method: str


class TFServingRest(Protocol):
    """TensorFlow Serving's REST API, below `/v1`."""

    name = "v1"

    def __init__(self, service: Service) -> None:
        self._service = service

    def matches(self, path: str) -> bool:
        """True if a path is below `/v1`."""
        return path.startswith("/v1/")

    async def respond(self, request: HttpRequest) -> Response:
        """Answers one request.

        Raises:
            RequestError: The path or its version is invalid, or the request cannot be answered.
        """
        target = parse_path(request.verb, request.path)
        request.method = target.method
        request.set_model(target.name)
        if target.method == "status":
            found = self._service.status(target.name, target.version, target.label)
            return Response(json_text.write(status_document(found)))
        if target.method == "metadata":
            with request.lease(target.name, target.version, target.label, None) as served:
                return Response(json_text.write(metadata_document(target.name, served.model)))
        # As in TensorFlow Serving, errors of the body come before those of the model.
        body = await request.read()
        request_id = request.request_id
        with request.lease(target.name, target.version, target.label, request_id) as served:
            document = await self._call(served, target.method, body)
        return Response(json_text.write(document))

    async def _call(self, served: ServedVersion, method: str, body: bytes) -> dict[str, object]:
        document = json_text.parse_object(body, self._service.settings.max_depth)
        name = signature_name(document)
        signature = served.model.signature(name)
        if method == "predict":
            inputs, by_row = decode_predict(document, signature)
            return encode_predict(await self._service.call(served, name, inputs), by_row)
        examples.check_method(signature, method)
        serialized = examples.decode_examples(document, method)
        inputs = examples.examples_input(signature, serialized)
        outputs = await self._service.call(served, name, inputs)
        if method == "classify":
            return {
                "results": [[list(pair) for pair in row] for row in examples.classes_of(outputs)]
            }
        return {"results": examples.values_of(outputs)}


def parse_path(method: str, path: str) -> Target:
    """Parses the path of a request.

    Args:
        method: HTTP method.
        path: The decoded path.

    Raises:
        RequestError: There is no such path with this method, or the version is not a number.
    """
    match = _PATH.fullmatch(path)
    call = match["method"] if match is not None else None
    if match is None or method != ("POST" if call else "GET"):
        raise invalid(f"Malformed request: {method} {path}")
    version = None
    if match["version"] is not None:
        text = match["version"]
        if not (
            text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= MAX_VERSION
        ):
            raise invalid(f"Failed to convert version: {text} to numeric.")
        version = int(text)
    kind = call or ("metadata" if match["metadata"] else "status")
    return Target(match["name"], version, match["label"] or "", kind)
