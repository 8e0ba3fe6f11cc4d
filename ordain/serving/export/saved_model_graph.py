"""Iterates over all nodes of a SavedModel's protobuf, without running or loading anything.

A node can be in the graph of each meta graph, in each function of its library, and in a graph
that is serialized, as protobuf or as text, inside an attribute of another node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.framework import function_pb2, graph_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from ordain.serving.export.description import Signature, Tensor

#: Deepest nesting of graphs in attributes of nodes; regular models have less.
MAX_DEPTH = 4
#: Limit on all strings parsed as text graphs: parsing is slow, and regular models have none.
MAX_TEXT_BYTES = 1_000_000
#: Message types that contain nodes and can be serialized in a string.
_FORMS = (
    graph_pb2.GraphDef,
    function_pb2.FunctionDefLibrary,
    function_pb2.FunctionDef,
    meta_graph_pb2.MetaGraphDef,
)
_OPERATION = re.compile(r"[A-Za-z_][A-Za-z0-9_.>/-]*")


@dataclass(frozen=True)
class Located:
    """A node and its place.

    Attributes:
        node: The `NodeDef`.
        meta: Index of the meta graph.
        function: Its library function; empty for the graph itself.
        nested: Node whose attribute contains this node's graph, or empty.
    """

    node: Any
    meta: int
    function: str = ""
    nested: str = ""

    @property
    def where(self) -> str:
        """Readable place."""
        scope = f"function {self.function}, " if self.function else ""
        inside = f"graph inside node {self.nested}, " if self.nested else ""
        return f"{inside}{scope}node {self.node.name}"


def nodes_of(saved: Any) -> Iterator[Located]:
    """All nodes of a `SavedModel` proto.

    Raises:
        ValueError: Graphs are nested deeper than `MAX_DEPTH`, or text graphs exceed
            `MAX_TEXT_BYTES`.
    """
    walk = _Walk()
    for index, meta in enumerate(saved.meta_graphs):
        yield from walk.graph(meta.graph_def, index, "", 0)


def operations_of(saved: Any) -> set[str]:
    """Operations of a `SavedModel` proto, without calls of library functions by name."""
    functions = {
        function.signature.name
        for meta in saved.meta_graphs
        for function in meta.graph_def.library.function
    }
    return {located.node.op for located in nodes_of(saved)} - functions


def signatures_of(graph: Any) -> dict[str, Signature]:
    """Signatures of a `MetaGraphDef` by name, without that of the loader's init op."""
    return {
        name: Signature(_tensors(found.inputs), _tensors(found.outputs))
        for name, found in sorted(graph.signature_def.items())
        if not name.startswith("__")
    }


def _tensors(infos: Any) -> dict[str, Tensor]:
    from tensorflow.python.framework import dtypes  # noqa: PLC0415  slow to import

    found = {}
    for name, info in sorted(infos.items()):
        sizes = tuple(None if dim.size < 0 else int(dim.size) for dim in info.tensor_shape.dim)
        shape = None if info.tensor_shape.unknown_rank else sizes
        found[name] = Tensor(dtypes.as_dtype(info.dtype).name, shape)
    return found


def called_functions(attributes: Any) -> Iterator[str]:
    """Names of the functions that a map of attributes references, including nested ones."""
    for value in attributes.values():
        for reference in (value.func, *value.list.func):
            if reference.name:
                yield reference.name
            yield from called_functions(reference.attr)


class _Walk:
    """One traversal of a message, with limits on nested graphs."""

    def __init__(self) -> None:
        """Starts with the whole budget of text."""
        self._text_left = MAX_TEXT_BYTES

    def graph(self, graph: Any, meta: int, nested: str, depth: int) -> Iterator[Located]:
        yield from self._nodes(graph.node, Located(None, meta, "", nested), depth)
        yield from self.functions(graph.library.function, meta, nested, depth)

    def functions(
        self, functions: Iterable[Any], meta: int, nested: str, depth: int
    ) -> Iterator[Located]:
        for function in functions:
            name = function.signature.name
            place = Located(None, meta, name, nested)
            yield from self._nodes(function.node_def, place, depth)
            for attributes in (function.attr, *(a.attr for a in function.arg_attr.values())):
                yield from self._inside(attributes, meta, f"function {name}", depth)

    def _nodes(self, nodes: Iterable[Any], place: Located, depth: int) -> Iterator[Located]:
        for node in nodes:
            yield Located(node, place.meta, place.function, place.nested)
            yield from self._inside(node.attr, place.meta, node.name, depth)

    def _inside(self, attributes: Any, meta: int, holder: str, depth: int) -> Iterator[Located]:
        """The nodes of graphs that are serialized in strings of attributes."""
        for text in _texts(attributes):
            found = self._parsed(text)
            if found is None:
                continue
            if depth == MAX_DEPTH:
                raise ValueError(f"graphs are nested more than {MAX_DEPTH} deep, in {holder}")
            if isinstance(found, function_pb2.FunctionDefLibrary):
                yield from self.functions(found.function, meta, holder, depth + 1)
            elif isinstance(found, function_pb2.FunctionDef):
                yield from self.functions([found], meta, holder, depth + 1)
            elif isinstance(found, meta_graph_pb2.MetaGraphDef):
                yield from self.graph(found.graph_def, meta, holder, depth + 1)
            else:
                yield from self.graph(found, meta, holder, depth + 1)

    def _parsed(self, text: bytes) -> Any:
        """Parses a string that contains a graph or functions; None for other strings.

        Raises:
            ValueError: The text graphs exceed `MAX_TEXT_BYTES`.
        """
        if len(text) < 8:
            return None
        for form in _FORMS:
            try:
                message = form.FromString(text)
            except DecodeError:
                continue
            if _has_nodes(message):
                return message
        if b"node" in text and b"op" in text and b":" in text:
            self._text_left -= len(text)
            if self._text_left < 0:
                raise ValueError(f"holds more than {MAX_TEXT_BYTES} bytes of graphs as text")
            for form in _FORMS:
                try:
                    message = text_format.Parse(text, form())
                except (text_format.ParseError, UnicodeDecodeError):
                    continue
                if _has_nodes(message):
                    return message
        return None


def _texts(attributes: Any) -> Iterator[bytes]:
    """All strings in a map of attributes: plain, in lists, in tensors, in references."""
    for value in attributes.values():
        kind = value.WhichOneof("value")
        if kind == "s":
            yield value.s
        elif kind == "tensor":
            yield from value.tensor.string_val
        elif kind == "func":
            yield from _texts(value.func.attr)
        elif kind == "list":
            yield from value.list.s
            for tensor in value.list.tensor:
                yield from tensor.string_val
            for reference in value.list.func:
                yield from _texts(reference.attr)


def _has_nodes(message: Any) -> bool:
    """True if a parsed message really contains nodes: many strings parse as some message."""
    if isinstance(message, meta_graph_pb2.MetaGraphDef):
        return _has_nodes(message.graph_def)
    if isinstance(message, function_pb2.FunctionDef):
        return _are_nodes(message.node_def)
    if isinstance(message, function_pb2.FunctionDefLibrary):
        return any(_are_nodes(function.node_def) for function in message.function)
    return _are_nodes(message.node) or _has_nodes(message.library)


def _are_nodes(nodes: Any) -> bool:
    # A single plausible node is enough: the others may be there to hide it.
    return any(node.name and _OPERATION.fullmatch(node.op) for node in nodes)
