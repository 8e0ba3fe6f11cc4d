"""Reads the servable signatures of a SavedModel from its protobuf, without loading it.

Used by the server before a load and by `checks` before a version gets a label.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from ordain.errors import InfrastructureError
from ordain.serving.export.description import SERVING_DEFAULT, read_description
from ordain.serving.registry.checkpoint import INDEX_FILE, checkpoint_fault
from ordain.serving.server.codec.tensor_protos import TYPE_NAMES, decode_proto
from ordain.serving.server.codec.tensors import BY_TF, Array, Signature, TensorSpec
from ordain.serving.server.errors import RequestError

SERVE_TAG = "serve"
#: Most elements in all defaults of a model's signatures; they stay in memory with the model.
MAX_DEFAULT_ELEMENTS = 1 << 22
#: Longest reason for a refusal, in characters.
MAX_REASON = 1000


class LoadError(Exception):
    """A version cannot be served; the text is the reason, in one line."""

    def __init__(self, reason: str) -> None:
        line = " ".join(reason.split())
        super().__init__(line if len(line) <= MAX_REASON else line[: MAX_REASON - 3] + "...")


def read_signatures(folder: Path) -> dict[str, Signature]:
    """Reads the signatures that a server offers of a SavedModel.

    Raises:
        LoadError: It is not a SavedModel with a serving graph, its description cannot be read, or a
            default does not fit.
    """
    return _offered(folder, _public(_serving_graph(folder)))


def read_servable(
    folder: Path,
) -> tuple[dict[str, meta_graph_pb2.SignatureDef], dict[str, Signature]]:
    """Reads the signatures of a SavedModel, and checks that it can be served.

    Args:
        folder: A SavedModel that was scanned.

    Returns:
        All signatures of the serving graph, and those of them that can be called.

    Raises:
        LoadError: There is no serving graph, no signature that can be called, a default that does
            not fit, or no checkpoint although the model needs one.
    """
    graph = _serving_graph(folder)
    definitions = _public(graph)
    signatures = _offered(folder, definitions)
    if not signatures:
        raise LoadError("it has no signature that can be called")
    if graph.HasField("object_graph_def") and not (folder / INDEX_FILE).is_file():
        raise LoadError(f"{INDEX_FILE} is missing")
    try:
        fault = checkpoint_fault(folder)
    except OSError as error:
        raise LoadError(f"{INDEX_FILE} cannot be read: {error.strerror}") from error
    if fault:
        raise LoadError(" ".join(fault))
    return definitions, signatures


def _public(graph: meta_graph_pb2.MetaGraphDef) -> dict[str, meta_graph_pb2.SignatureDef]:
    return {n: d for n, d in graph.signature_def.items() if not n.startswith("__saved_model")}


def _serving_graph(folder: Path) -> meta_graph_pb2.MetaGraphDef:
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    except OSError as error:
        raise LoadError(f"saved_model.pb cannot be read: {error.strerror}") from error
    except DecodeError as error:
        raise LoadError(f"saved_model.pb cannot be read: {error}") from error
    tags = [sorted(graph.meta_info_def.tags) for graph in saved.meta_graphs]
    if [SERVE_TAG] not in tags:  # TensorFlow too takes the graph with exactly this tag
        named = ", ".join("+".join(of_one) or "none" for of_one in tags) or "there is no graph"
        raise LoadError(
            f"saved_model.pb has no graph for serving: tags must be {SERVE_TAG}, not {named}"
        )
    return saved.meta_graphs[tags.index([SERVE_TAG])]


def _offered(
    folder: Path, definitions: Mapping[str, meta_graph_pb2.SignatureDef]
) -> dict[str, Signature]:
    """Signatures whose types can be sent in a request.

    Raises:
        LoadError: The model's description cannot be read, or a default does not fit.
    """
    try:
        description = read_description(folder)
    except InfrastructureError as error:
        raise LoadError(error.message) from error
    features = description.features if description is not None else ()
    missing = {f.name: _scalar(f.missing) for f in features if not f.is_required}
    found, elements = {}, 0
    for name, raw in definitions.items():
        defaults = {}
        for alias, proto in raw.defaults.items():
            try:
                defaults[alias] = decode_proto(proto, alias)
            except RequestError as error:
                raise LoadError(f"signature {name!r}: the default of {error.message}") from error
            elements += defaults[alias].size
            if elements > MAX_DEFAULT_ELEMENTS:
                raise LoadError(
                    f"the defaults of its signatures have more than {MAX_DEFAULT_ELEMENTS} elements"
                )
        signature = _read_signature(name, raw, defaults, missing)
        if signature is not None:
            found[name] = signature
    return found


def _read_signature(
    name: str,
    raw: meta_graph_pb2.SignatureDef,
    defaults: Mapping[str, Array],
    missing: Mapping[str, Array],
) -> Signature | None:
    """Reads a signature; None if one of its types cannot be sent in a request.

    An input is optional if TensorFlow's signature has a default for it, or, in `serving_default`,
    if the model's description has a value for missing.

    Raises:
        LoadError: A default does not fit its input.
    """
    fillers = {**defaults, **(missing if name == SERVING_DEFAULT else {})}
    sides: list[dict[str, TensorSpec]] = []
    for infos in (raw.inputs, raw.outputs):
        specs = {}
        for alias, info in infos.items():
            kind = BY_TF.get(TYPE_NAMES.get(info.dtype, ""))
            if kind is None or info.WhichOneof("encoding") != "name":
                return None
            unknown = info.tensor_shape.unknown_rank
            shape = None if unknown else tuple(dim.size for dim in info.tensor_shape.dim)
            specs[alias] = TensorSpec(alias, kind, shape, fillers.get(alias))
        sides.append(specs)
    for alias, default in defaults.items():
        spec = sides[0].get(alias)
        if spec is not None and (not default.size or default.dtype != spec.type.numpy):
            raise LoadError(
                f"signature {name!r}: the default of input {alias!r} has {default.size} elements "
                f"of type {default.dtype}, expected {spec.type.tf}"
            )
    return Signature(name, raw.method_name, *sides)


def _scalar(value: Any) -> Array:
    return np.array(value.encode() if isinstance(value, str) else value, dtype=object)
