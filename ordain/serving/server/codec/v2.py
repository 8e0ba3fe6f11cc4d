"""What the Open Inference Protocol's REST and gRPC sides share: parameters, metadata, names.

The protocol knows no signatures and no labels. Both are request parameters here:
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
#: Elements one tensor may claim to have; its data has to hold as many.
MAX_ELEMENTS = 1 << 28


def server_version() -> str:
    """The version of this package."""
    return metadata.version("ordain")


def parse_version(text: str) -> int | None:
    """The version a path or message names; None if it names none.

    Raises:
        RequestError: It is no number.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise not_found(f"version {text!r} is no number, so there is none")
    return int(text)


def parameters_of(raw: Mapping[str, Any]) -> tuple[str, str]:
    """Signature and label that a request's parameters name.

    Raises:
        RequestError: They are no texts.
    """
    signature = raw.get("signature_name", DEFAULT_SIGNATURE)
    label = raw.get("label", "")
    if not isinstance(signature, str) or not isinstance(label, str):
        raise invalid("the parameters 'signature_name' and 'label' are texts")
    return signature or DEFAULT_SIGNATURE, label


def element_type(name: str, datatype: Any) -> ElementType:
    """The type a request's tensor claims to have.

    Raises:
        RequestError: There is none of that name.
    """
    if not isinstance(datatype, str) or datatype not in BY_V2:
        raise invalid(f"input {name!r}: datatype {datatype!r} is none of {', '.join(BY_V2)}")
    return BY_V2[datatype]


def check_shape(name: str, shape: Any) -> tuple[int, ...]:
    """The shape a request's tensor claims to have.

    Raises:
        RequestError: It is no list of sizes, or has too many elements.
    """
    is_list = isinstance(shape, (list, tuple)) and len(shape) <= 254
    if not is_list or any(type(size) is not int or size < 0 for size in shape):
        raise invalid(f"input {name!r}: 'shape' is a list of sizes that are not negative")
    elements = 1
    for size in shape:
        elements *= size
    if elements > MAX_ELEMENTS or any(size > MAX_ELEMENTS for size in shape):
        raise invalid(f"input {name!r}: shape {list(shape)} has too many elements")
    return tuple(shape)


def fit(name: str, flat: Array, shape: tuple[int, ...]) -> Array:
    """Elements in the shape they are said to have.

    Raises:
        RequestError: There are more or fewer of them.
    """
    if flat.size != int(np.prod(shape, dtype=np.int64)):
        raise invalid(
            f"input {name!r} has {flat.size} elements, which do not fill shape {list(shape)}"
        )
    return flat.reshape(shape)


def datatype_of(name: str, array: Array) -> str:
    """The protocol's name of an output's type.

    Raises:
        RequestError: It has none.
    """
    if array.dtype not in BY_NUMPY:
        raise invalid(f"output {name!r} is {array.dtype}, which the protocol cannot carry")
    return BY_NUMPY[array.dtype].v2


def select_outputs(outputs: Mapping[str, Array], wanted: list[str]) -> dict[str, Array]:
    """The outputs a request names, or all.

    Raises:
        RequestError: There is none of a name.
    """
    for name in wanted:
        if name not in outputs:
            raise invalid(f"there is no output {name!r}; there are {', '.join(sorted(outputs))}")
    return {name: outputs[name] for name in wanted or sorted(outputs)}


def described(model: LoadedModel) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs that metadata shows: the default signature's, or else the first's."""
    names = sorted(model.signatures)
    name = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in names else names[0]
    signature = model.signatures[name]
    return list(signature.inputs.values()), list(signature.outputs.values())


def shape_of(spec: TensorSpec) -> list[int]:
    """A shape as metadata shows it: -1 for any size, and `[-1]` where even the rank is open."""
    return [-1] if spec.shape is None else list(spec.shape)
