"""TF Serving's REST API, as documented at https://www.tensorflow.org/tfx/serving/api_rest.

POST /v1/models/NAME[/versions/N|/labels/L]:predict | :classify | :regress
GET  /v1/models/NAME[/versions/N|/labels/L]             status
GET  /v1/models/NAME[/versions/N|/labels/L]/metadata
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ordain.serving.server.codec import examples_json as examples
from ordain.serving.server.codec.predict_json import decode_predict, encode_predict, signature_name
from ordain.serving.server.errors import RequestError, invalid
from ordain.serving.server.models.routing import ServedVersion
from ordain.serving.server.rest import json_text
from ordain.serving.server.rest.front import Answer, Asked, Protocol, failure
from ordain.serving.server.rest.tfserving_metadata import metadata_document, status_document
from ordain.serving.server.service import Service

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)"
    r"(?:/versions/(?P<version>[^/:]+)|/labels/(?P<label>[^/:]+))?"
    r"(?::(?P<method>predict|classify|regress)|(?P<metadata>/metadata))?"
)
#: Versions are int64 in every message.
MAX_VERSION = 2**63 - 1


@dataclass(frozen=True)
class Target:
    """What a path names.

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
    """Answers the paths below `/v1`."""

    name = "v1"

    def __init__(self, service: Service) -> None:
        self._service = service

    def knows(self, path: str) -> bool:
        """Whether a path is below `/v1`."""
        return path.startswith("/v1/")

    async def answer(self, asked: Asked) -> Answer:
        """Answers one request.

        Raises:
            RequestError: The path or the version in it means nothing here.
        """
        target = parse_path(asked.method, asked.path)
        model = target.name if target.name == self._service.settings.name else ""
        answer = Answer(b"", protocol=self.name, method=target.method, model=model)
        try:
            if target.method == "status":
                found = self._service.status(target.name, target.version, target.label)
                return replace(answer, body=json_text.write(status_document(found)))
            # TF Serving reads a request before it looks for the model, and so do its errors come.
            is_about = target.method == "metadata"
            body = b"" if is_about else await asked.read()
            request_id = None if is_about else asked.request_id
            lease = self._service.lease(target.name, target.version, target.label, request_id)
            with lease as served:
                answer = replace(answer, version=str(served.version))
                if is_about:
                    document = metadata_document(target.name, served.model)
                else:
                    document = await self._call(served, target.method, body)
            return replace(answer, body=json_text.write(document))
        except RequestError as error:
            return failure(answer, error)

    async def _call(self, served: ServedVersion, method: str, body: bytes) -> dict[str, object]:
        document = json_text.parse_object(body, self._service.settings.max_depth)
        name = signature_name(document)
        signature = served.model.signature(name)
        if method == "predict":
            inputs, by_row = decode_predict(document, signature)
            return encode_predict(await self._service.call(served, name, inputs), by_row)
        wanted = examples.CLASSIFY if method == "classify" else examples.REGRESS
        examples.check_method(signature, wanted)
        serialized = examples.decode_examples(document, method)
        inputs = examples.examples_input(signature, serialized)
        outputs = await self._service.call(served, name, inputs)
        if method == "classify":
            return {
                "results": [[list(pair) for pair in row] for row in examples.classes_of(outputs)]
            }
        return {"results": examples.values_of(outputs)}


def parse_path(method: str, path: str) -> Target:
    """What a request is to.

    Raises:
        RequestError: No such path with this method, or the version is no number.
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
