"""Refuses handles and variants that a model contains as data.

A handle names a variable or a table of the whole process. Handles made by operations belong to the
model, because a loader appends a number of its own to their names (`shared_name`). A handle that is
data may name a resource of another model, and a variant may contain one. They can be in any tensor
of the message, or be decoded from bytes: a string, a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

#: `DT_RESOURCE` and `DT_VARIANT`, and references to them.
HANDLES = frozenset({20, 21, 120, 121})
#: Operations that decode tensors from bytes, and the attribute with their types.
_OF_BYTES = {
    "RestoreV2": "dtypes",
    "DeserializeSparse": "dtype",
    "DeserializeManySparse": "dtype",
}
_TENSOR, _ATTRIBUTE = "tensorflow.TensorProto", "tensorflow.AttrValue"
_FUNCTION, _NODE = "tensorflow.FunctionDef", "tensorflow.NodeDef"

_Step = tuple[Any, str, Any]  # a message, its field name in the parent, the parent's step or None


def handle_faults(message: Any) -> Iterator[tuple[str, str, str]]:
    """Finds handles and variants in a message, and attributes without a value of their own.

    Args:
        message: A `MetaGraphDef`, or a part of one.

    Yields:
        The operation, its place, and why it is refused.
    """
    waiting: list[_Step] = [(message, "", None)]
    while waiting:
        step = waiting.pop()
        part = step[0]
        kind = part.DESCRIPTOR.full_name
        why = None
        if kind == _TENSOR:
            if part.dtype in HANDLES or part.resource_handle_val or part.variant_val:
                why = "holds a handle or a variant as data: it may name what another model holds"
        elif kind == _ATTRIBUTE and part.WhichOneof("value") == "placeholder":
            why = "has an attribute that is filled in by whoever calls the function"
        elif kind == _NODE and part.op in _OF_BYTES and _has_handles(part.attr[_OF_BYTES[part.op]]):
            why = "makes handles or variants of bytes: they may name what another model holds"
        if why:
            yield *_place(step), why
        for name, is_map, is_list in _ways_to_tensors(part.DESCRIPTOR):
            if is_map:
                waiting += [(v, f"{name} {k}", step) for k, v in getattr(part, name).items()]
            elif is_list:
                waiting += [(v, name, step) for v in getattr(part, name)]
            elif part.HasField(name):
                waiting.append((getattr(part, name), name, step))


def _has_handles(types: Any) -> bool:
    return not HANDLES.isdisjoint((types.type, *types.list.type))


def _place(step: _Step) -> tuple[str, str]:
    """The operation that contains a part of a message, and a readable place."""
    operation, places = "", []
    while step is not None:
        part, name, step = step
        kind = part.DESCRIPTOR.full_name
        if kind == _NODE:
            operation = part.op
            places.append(f"node {part.name}")
        elif kind == _FUNCTION:
            places.append(f"function {part.signature.name}")
        elif name.startswith("attr "):
            places.append(f"attribute {name[5:]}")
        elif name.startswith(("signature_def ", "object_graph_def")):
            places.append(name)
    return operation or "tensor", ", ".join(reversed(places))


@cache
def _ways_to_tensors(descriptor: Any) -> tuple[tuple[str, bool, bool], ...]:
    """Fields of a message type that can lead to a tensor: name, is a map, is a list."""
    if descriptor.full_name == _TENSOR:
        return ()
    found = []
    for field in descriptor.fields:
        if field.message_type is not None and _leads_to_tensors(field.message_type):
            is_map = field.message_type.GetOptions().map_entry
            found.append((field.name, is_map, field.is_repeated))
    return tuple(found)


@cache
def _leads_to_tensors(descriptor: Any) -> bool:
    seen, waiting = set(), [descriptor]
    while waiting:
        kind = waiting.pop()
        if kind.full_name == _TENSOR:
            return True
        if kind.full_name not in seen:
            seen.add(kind.full_name)
            waiting += [f.message_type for f in kind.fields if f.message_type is not None]
    return False
