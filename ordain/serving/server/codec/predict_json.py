"""TensorFlow Serving's predict requests and responses: `instances` by row, `inputs` by column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ordain.serving.server.codec.json_values import decode_tensor, encode_tensor, is_base64
from ordain.serving.server.codec.tensors import Array, Arrays, Signature
from ordain.serving.server.errors import Code, RequestError, invalid
from ordain.serving.server.rest.json_text import quote

DEFAULT_SIGNATURE = "serving_default"


def signature_name(document: Mapping[str, Any]) -> str:
    """The signature that a request names, or the default one.

    Raises:
        RequestError: `signature_name` is not a string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {quote(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name or DEFAULT_SIGNATURE


def decode_predict(document: Mapping[str, Any], signature: Signature) -> tuple[Arrays, bool]:
    """Decodes the inputs of a predict request.

    Returns:
        The inputs, not yet checked against the signature, and whether the request was by row.

    Raises:
        RequestError: The request violates the REST API.
    """
    if "instances" in document:
        if "inputs" in document:
            raise invalid(
                f"JSON Value: {quote(document)} Not formatted correctly expecting only one of "
                "'inputs' or 'instances' keys to exist "
            )
        return _decode_rows(document["instances"], signature), True
    if "inputs" in document:
        return _decode_columns(document["inputs"], signature), False
    raise invalid("Missing 'inputs' or 'instances' key")


def encode_predict(outputs: Arrays, by_row: bool) -> dict[str, Any]:
    """Encodes outputs as `predictions` by row or `outputs` by column; unnamed if there is only one.

    Raises:
        RequestError: The response is by row, and the outputs do not have the same number of rows.
    """
    encoded = {name: encode_tensor(array, name) for name, array in sorted(outputs.items())}
    only = next(iter(encoded.values())) if len(encoded) == 1 else None
    if not by_row:
        return {"outputs": encoded if only is None else only}
    sizes = {name: len(array) if array.ndim else -1 for name, array in outputs.items()}
    if len(set(sizes.values())) != 1 or -1 in sizes.values():
        raise RequestError(
            Code.INVALID_ARGUMENT,
            f"the outputs do not have one row for each instance (rows: {sizes}); "
            "request by column, with 'inputs'",
        )
    if only is not None:
        return {"predictions": only}
    names = list(encoded)
    rows = zip(*encoded.values(), strict=True)
    return {"predictions": [dict(zip(names, row, strict=True)) for row in rows]}


def _decode_rows(instances: Any, signature: Signature) -> Arrays:
    if not isinstance(instances, list):
        raise invalid("Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid("No values in 'instances' array")
    named = _is_named(instances[0])
    if not named and len(signature.inputs) != 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    if not named:
        for item, instance in enumerate(instances):
            if _is_named(instance):
                raise invalid(f"Expecting value/list but got object at item {item} of input list")
        ((name, spec),) = signature.inputs.items()
        return {name: decode_tensor(instances, spec.type)}
    keys = _named_keys(instances, signature)
    return {name: _decode_row_input(instances, name, signature) for name in sorted(keys)}


def _decode_row_input(instances: list[dict[str, Any]], name: str, signature: Signature) -> Array:
    spec = signature.inputs[name]
    missing = spec.missing_value
    if missing is None:
        values = [instance[name] for instance in instances]
    else:
        given = (instance.get(name) for instance in instances)
        values = [missing if value is None else value for value in given]
    try:
        return decode_tensor(values, spec.type)
    except RequestError as error:
        raise invalid(
            f"Failed to process key: {name} of 'instances' list. Error: {error.message}"
        ) from None


def _named_keys(instances: list[Any], signature: Signature) -> set[str]:
    """The inputs that the instances name.

    TensorFlow Serving requires every input in each instance. Here an input with a default may be
    absent or null in any of them.
    """
    all_names = signature.inputs.keys()
    needed = {name for name, spec in signature.inputs.items() if spec.default is None}
    # A default that is not a single value replaces whole inputs only.
    first = instances[0].keys()
    needed |= {n for n, s in signature.inputs.items() if n in first and s.missing_value is None}
    found: set[str] = set()
    for item, instance in enumerate(instances):
        if not _is_named(instance):
            raise invalid(f"Expecting object but got list at item {item} of input list")
        if not needed <= instance.keys() <= all_names:
            raise invalid(
                f"Failed to process element: {item} of 'instances' list. JSON object: "
                f"{quote(instance)} keys must be equal to: {','.join(sorted(all_names))}"
            )
        found |= instance.keys()
    if any(signature.inputs[name].missing_value is None for name in found - needed):
        raise invalid("the instances do not name the same inputs")
    return found


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _decode_columns(inputs: Any, signature: Signature) -> Arrays:
    if not _is_named(inputs):
        if len(signature.inputs) != 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple "
                "input tensors required as per tensorinfo_map"
            )
        ((name, spec),) = signature.inputs.items()
        return {name: decode_tensor(inputs, spec.type)}
    # TensorFlow Serving ignores unknown names, which would hide a misspelt optional input.
    return {n: decode_tensor(value, signature.input(n).type) for n, value in inputs.items()}
