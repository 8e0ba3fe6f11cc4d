"""Shared by REST and gRPC of the Open Inference Protocol: parameters, metadata, datatypes.

The protocol has neither signatures nor labels. Both are request parameters here:
`signature_name` (default `serving_default`) and `label`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np

from ordain.serving.server.codec.predict_json import DEFAULT_SIGNATURE
from ordain.serving.server.codec.tensors import BY_NUMPY, BY_V2, Array, ElementType, TensorSpec
from ordain.serving.server.errors import invalid, not_found
from ordain.serving.server.models.loaded_model import LoadedModel

PLATFORM = "tensorflow_savedmodel"
SERVER = "ordain"
#: Most elements in one tensor's declared shape.
MAX_ELEMENTS = 1 << 28


def server_version() -> str:
    """The version of this package."""
    return metadata.version("ordain")


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


def element_type(name: str, datatype: Any) -> ElementType:
    """The element type of a request's tensor.

    Raises:
        RequestError: The datatype is unknown.
    """
    if not isinstance(datatype, str) or datatype not in BY_V2:
        raise invalid(f"input {name!r}: datatype {datatype!r} is not one of {', '.join(BY_V2)}")
    return BY_V2[datatype]


def check_shape(name: str, shape: Any) -> tuple[int, ...]:
    """The declared shape of a request's tensor.

    Raises:
        RequestError: It is not a list of sizes, or has too many elements.
    """
    is_list = isinstance(shape, (list, tuple)) and len(shape) <= 254
    if not is_list or any(type(size) is not int or size < 0 for size in shape):
        raise invalid(f"input {name!r}: 'shape' must be a list of non-negative sizes")
    elements = 1
    for size in shape:
        elements *= size
    if elements > MAX_ELEMENTS or any(size > MAX_ELEMENTS for size in shape):
        raise invalid(f"input {name!r}: shape {list(shape)} has too many elements")
    return tuple(shape)


def fit(name: str, flat: Array, shape: tuple[int, ...]) -> Array:
    """Reshapes flat elements to the declared shape.

    Raises:
        RequestError: Their number does not match the shape.
    """
    if flat.size != int(np.prod(shape, dtype=np.int64)):
        raise invalid(
            f"input {name!r} has {flat.size} elements, which does not match shape {list(shape)}"
        )
    return flat.reshape(shape)


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


def described(model: LoadedModel) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs in the metadata: of the default signature, or else of the first."""
    names = sorted(model.signatures)
    name = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in names else names[0]
    signature = model.signatures[name]
    return list(signature.inputs.values()), list(signature.outputs.values())


def shape_of(spec: TensorSpec) -> list[int]:
    """A shape in the metadata: -1 for any size, and `[-1]` for an unknown rank."""
    return [-1] if spec.shape is None else list(spec.shape)
