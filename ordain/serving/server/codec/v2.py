"""Shared by REST and gRPC of the Open Inference Protocol: parameters, inputs, metadata.

The protocol has neither signatures nor labels. Both are request parameters here:
`signature_name` (default `serving_default`) and `label`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

from ordain.serving.server.codec.predict_json import DEFAULT_SIGNATURE
from ordain.serving.server.codec.tensors import (
    BY_NUMPY,
    BY_V2,
    MAX_RANK,
    Array,
    Arrays,
    ElementType,
    TensorSpec,
)
from ordain.serving.server.errors import invalid, not_found
from ordain.serving.server.models.loaded_model import LoadedModel

#: Most elements in one tensor's declared shape.
MAX_ELEMENTS = 1 << 28


def parse_version(text: str) -> int | None:
    """Parses the version of a path or message; None if it is empty.

    Raises:
        RequestError: It is not a number.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise not_found(f"version {text!r} is not a number")
    return int(text)


def parameters_of(raw: Mapping[str, Any]) -> tuple[str, str]:
    """Signature and label in a request's parameters.

    Raises:
        RequestError: They are not strings.
    """
    signature = raw.get("signature_name", DEFAULT_SIGNATURE)
    label = raw.get("label", "")
    if not isinstance(signature, str) or not isinstance(label, str):
        raise invalid("the parameters 'signature_name' and 'label' must be strings")
    return signature or DEFAULT_SIGNATURE, label


def add_input(
    arrays: Arrays, name: str, datatype: Any, shape: Any, decode: Callable[[ElementType], Array]
) -> None:
    """Adds a tensor of a request.

    Args:
        arrays: The request's inputs so far.
        name: The tensor's name.
        datatype: Its datatype, as sent.
        shape: Its shape, as sent.
        decode: Decodes its elements into a flat array.

    Raises:
        RequestError: Name, datatype, shape or elements violate the protocol.
    """
    if name in arrays:
        raise invalid(f"input {name!r} is given twice")
    if not isinstance(datatype, str) or datatype not in BY_V2:
        raise invalid(f"input {name!r}: datatype {datatype!r} is not one of {', '.join(BY_V2)}")
    is_list = isinstance(shape, list) and len(shape) <= MAX_RANK
    if not is_list or any(type(size) is not int or size < 0 for size in shape):
        raise invalid(
            f"input {name!r}: 'shape' must be a list of at most {MAX_RANK} non-negative sizes"
        )
    elements = math.prod(shape)
    if elements > MAX_ELEMENTS or any(size > MAX_ELEMENTS for size in shape):
        raise invalid(f"input {name!r}: shape {shape} has too many elements")
    flat = decode(BY_V2[datatype])
    if flat.size != elements:
        raise invalid(
            f"input {name!r} has {flat.size} elements, which does not match shape {shape}"
        )
    arrays[name] = flat.reshape(shape)


def datatype_of(name: str, array: Array) -> str:
    """The protocol's datatype of an output.

    Raises:
        RequestError: The protocol has none for it.
    """
    if array.dtype not in BY_NUMPY:
        raise invalid(f"output {name!r} is {array.dtype}, which the protocol does not support")
    return BY_NUMPY[array.dtype].v2


def select_outputs(outputs: Mapping[str, Array], wanted: list[str]) -> dict[str, Array]:
    """The requested outputs, or all if none is named.

    Raises:
        RequestError: An output does not exist.
    """
    for name in wanted:
        if name not in outputs:
            raise invalid(f"there is no output {name!r}; there are {', '.join(sorted(outputs))}")
    return {name: outputs[name] for name in wanted or sorted(outputs)}


def server_metadata() -> dict[str, Any]:
    """`ServerMetadataResponse` as JSON."""
    return {"name": "ordain", "version": metadata.version("ordain"), "extensions": []}


def model_metadata(name: str, versions: list[int], model: LoadedModel) -> dict[str, Any]:
    """`ModelMetadataResponse` as JSON: the default signature, or else the first."""
    names = sorted(model.signatures)
    signature = model.signatures[DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in names else names[0]]
    return {
        "name": name,
        "versions": [str(version) for version in versions],
        "platform": "tensorflow_savedmodel",
        "inputs": [_describe(spec) for spec in signature.inputs.values()],
        "outputs": [_describe(spec) for spec in signature.outputs.values()],
    }


def _describe(spec: TensorSpec) -> dict[str, Any]:
    """A tensor's metadata; sizes are -1 for any size, and `[-1]` for an unknown rank."""
    shape = [-1] if spec.shape is None else list(spec.shape)
    return {"name": spec.name, "datatype": spec.type.v2, "shape": shape}
