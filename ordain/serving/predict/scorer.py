"""Scores rows with a version loaded into this process, or with a running server."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ordain.errors import ConfigError, InfrastructureError
from ordain.serving.predict.columns import add_outputs, to_inputs
from ordain.serving.registry.label_file import STABLE, read_labels
from ordain.serving.registry.trust import Trust
from ordain.serving.registry.versions import version_folder
from ordain.serving.server.codec.json_values import decode_tensor, encode_tensor
from ordain.serving.server.codec.tensors import BY_TF, Signature, TensorSpec

TIMEOUT_S = 120.0


def find_version(base: Path, version: int | None, label: str, trust: Trust | None = None) -> Path:
    """The folder of a version, chosen by number or by label (default: stable).

    Raises:
        ConfigError: There is no such version, or no version has the label.
        InfrastructureError: The labels cannot be read.
    """
    if version is None:
        version = read_labels(base, trust).version_of(label or STABLE)
    if version is None:
        raise ConfigError(
            f"{base}: no version has the label {label or STABLE}", "ordain models list PROJECT"
        )
    return version_folder(base, version)


class LocalScorer:
    """Scores with a version that is checked and loaded into this process."""

    def __init__(self, folder: Path, signature: str, trust: Trust | None) -> None:
        """Loads a version.

        Raises:
            InfrastructureError: It fails the checks, or cannot be loaded.
            RequestError: It has no such signature.
        """
        from ordain.serving.server.models.loading import load_version  # noqa: PLC0415  imports TensorFlow

        try:
            self._model = load_version(folder, int(folder.name), trust)
        except Exception as error:  # a damaged model may raise anything
            raise InfrastructureError(
                f"version {folder.name} is refused: {error}", "ordain models verify PROJECT"
            ) from error
        self.signature = self._model.signature(signature)

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with the outputs added."""
        inputs, _ = self.signature.complete(to_inputs(batch, self.signature))
        return add_outputs(batch, self._model.run(self.signature.name, inputs))


class RemoteScorer:
    """Scores with a running server over TensorFlow Serving's REST API."""

    def __init__(
        self,
        url: str,
        name: str,
        path: str,
        signature: str,
        token: str = "",
        ca: Path | None = None,
    ) -> None:
        """Reads the model's metadata.

        Args:
            url: The server's base URL.
            name: The model's name.
            path: `/versions/N`, `/labels/L` or empty.
            signature: The signature.
            token: Bearer token, or empty.
            ca: PEM file of the authority that signed the server's certificate, or None.

        Raises:
            ConfigError: The URL is invalid, or the model has no such signature.
            InfrastructureError: The server does not respond, or not with metadata.
        """
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ConfigError(f"--url {url}: must begin with http:// or https://")
        self._url = f"{url.rstrip('/')}/v1/models/{urllib.parse.quote(name)}{path}"
        self._token = token
        self._context = None
        if url.startswith("https:"):
            self._context = ssl.create_default_context(cafile=ca)
        document = self._request("/metadata", None)
        definitions = document["metadata"]["signature_def"]["signature_def"]
        if signature not in definitions:
            raise ConfigError(
                f"--signature {signature}: the model has {', '.join(sorted(definitions))}"
            )
        self.signature = _signature(signature, definitions[signature])

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with the outputs added."""
        inputs = to_inputs(batch, self.signature)
        columns = {
            # With the suffix `_bytes` they are encoded as base64, which need not be UTF-8.
            n: encode_tensor(a, f"{n}_bytes" if a.dtype == object else n)
            for n, a in inputs.items()
        }
        document = {"signature_name": self.signature.name, "inputs": columns}
        response = self._request(":predict", document)["outputs"]
        if len(self.signature.outputs) == 1:
            response = {next(iter(self.signature.outputs)): response}
        specs = self.signature.outputs
        return add_outputs(batch, {n: decode_tensor(response[n], s.type) for n, s in specs.items()})

    def _request(self, suffix: str, document: dict[str, Any] | None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self._url + suffix, body)  # noqa: S310  http(s), checked
        request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(  # noqa: S310
                request, timeout=TIMEOUT_S, context=self._context
            ) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise InfrastructureError(
                f"{self._url}{suffix}: HTTP {error.code}: {_reason(error)}"
            ) from error
        except (OSError, ValueError) as error:
            raise InfrastructureError(
                f"{self._url}{suffix}: {error}", "ordain serve PROJECT starts a server"
            ) from error


def _reason(error: urllib.error.HTTPError) -> str:
    text = error.read().decode("utf-8", "replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text[:200]


def _signature(name: str, raw: dict[str, Any]) -> Signature:
    sides = [
        {alias: _spec(alias, info) for alias, info in raw[side].items()}
        for side in ("inputs", "outputs")
    ]
    return Signature(name, raw["method_name"], *sides)


def _spec(name: str, info: dict[str, Any]) -> TensorSpec:
    shape = info["tensor_shape"]
    sizes = tuple(int(dim["size"]) for dim in shape.get("dim", ()))
    kind = BY_TF[info["dtype"]]
    missing = {"O": b"", "f": np.nan}.get(kind.numpy.kind)
    default = None if missing is None else np.array(missing, dtype=object)
    return TensorSpec(name, kind, None if shape.get("unknown_rank") else sizes, default)
