"""Follows each path forward: assets into table initializers, the saver's name into file names.

The path of an asset enters the graph as a fed tensor, and functions as an object bound to an
argument; the file name of the saver enters as a fed tensor. A model that uses one in any other way
could return it to a request, store it, or change it on the way, so that the path checked by
`file_paths` would not be the path that is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ordain.serving.scan.file_paths import PATHS, Paths, is_joined
from ordain.serving.scan.meta_graph import CALLS, MetaGraph, Scope, node_name, tensor_infos

_ASSET, _SAVER = "the path of an asset", "the file name of the saver"
_ONLY = {
    _ASSET: "which only the initializer of a table may",
    _SAVER: "which only operations that save and restore may",
}
#: Operations that open an asset's path; the others open the saver's file name.
_TABLES = ("InitializeTableFromTextFileV2",)

_Place = tuple[str, str, str]  # kind of path, scope, and a node or argument in it


def path_misuses(graph: MetaGraph, paths: Paths) -> Iterator[tuple[str, str, str]]:
    """Finds uses of paths other than opening their file.

    Args:
        graph: The meta graph.
        paths: Its assets, and the file name of its saver.

    Yields:
        The operation, its place, and why it is refused.
    """
    waiting = list(_entrances(graph, paths))
    outputs = {
        node_name(info.name): name
        for name, signature in graph.meta.signature_def.items()
        for info in tensor_infos(signature.outputs.values())
    }
    seen: set[_Place] = set()
    returned: set[str] = set()
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        path, scope_name, name = place
        scope = graph.scope(scope_name)
        if not scope_name and name in outputs:
            yield outputs[name], "signature", f"returns {path}"
        if scope_name and name in scope.results and (path == _ASSET or scope_name not in returned):
            returned.add(scope_name)
            callers = _callers(graph, scope_name) if path == _SAVER else None
            if callers is None:
                yield scope_name, "function", f"returns {path}"
            waiting += callers or []
        for node, position in scope.consumers.get(name, ()):
            onward = _onward(graph, paths, place, node, position)
            if onward is None:
                where = f"function {scope_name}, " if scope_name else ""
                yield node.op, f"{where}node {node.name}", f"uses {path}, {_ONLY[path]}"
            else:
                waiting += onward


def _entrances(graph: MetaGraph, paths: Paths) -> Iterator[_Place]:
    """Entry points of paths: fed tensors, and arguments bound to objects."""
    if paths.file_name:
        yield _SAVER, "", paths.file_name
    for name in sorted(paths.asset_nodes):
        yield _ASSET, "", name
    for function, references in graph.references.items():
        arguments = graph.functions[function].argument_names
        for reference in references:
            for offset, number in enumerate(reversed(reference.bound or ())):
                if number in paths.asset_objects and offset < len(arguments):
                    yield _ASSET, function, arguments[-1 - offset]


def _callers(graph: MetaGraph, function: str) -> list[_Place] | None:
    """The nodes that receive what a function returns; None if not all are plain calls."""
    references = graph.references[function]
    if not all(reference.is_call(function) for reference in references):
        return None
    return [(_SAVER, reference.scope, reference.node.name) for reference in references]


def _onward(
    graph: MetaGraph, paths: Paths, place: _Place, node: Any, position: int
) -> list[_Place] | None:
    """Next places of a path that enters a node's input; None if it must not enter."""
    path, scope, name = place
    from_here = [(path, scope, node.name)]
    if node.op == "Identity":
        return from_here
    if (node.op in _TABLES) == (path == _ASSET) and any(
        position == taken for taken, _ in PATHS.get(node.op, ())
    ):
        return from_here if node.op == "ShardedFilename" else []
    if path == _SAVER:
        if node.op == "StaticRegexFullMatch":
            return []
        if _is_saving(graph.scope(scope), node, position):
            return from_here
    else:
        given = graph.scope(scope).nodes.get(name)
        if given is not None and given.op == "VarHandleOp":
            # `why_no_asset_variable` checks the other uses.
            return from_here if node.op == "ReadVariableOp" else []
        if node.op == "AssignVariableOp" and position == 1 and not scope:
            variable = node_name(node.input[0])
            return None if paths.why_no_asset_variable(variable) else [(path, "", variable)]
    callee = node.op if node.op in graph.functions else node.attr["f"].func.name
    if node.op not in (*CALLS, callee) or callee not in graph.functions:
        return None
    function = graph.functions[callee]
    if function.takes_lists or position >= len(function.argument_names):
        return None
    return [(path, callee, function.argument_names[position])]


def _is_saving(scope: Scope, node: Any, position: int) -> bool:
    """True if a node makes names of checkpoint shards, as TensorFlow's savers do."""
    return node.op == "Pack" or (position == 0 and is_joined(scope, node))
