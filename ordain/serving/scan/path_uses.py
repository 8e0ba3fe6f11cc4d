"""Where each path goes: an asset's into the initializer of a table, the saver's into files' names.

The path of an asset enters the graph in a tensor that a loader feeds, and functions as an object
that is bound to an argument; the file name of the saver in a tensor that is fed. Each is followed
forward. A model that does anything else with one could hand it to a request, keep it, or change
it under way: what `scan_paths` looked at would not be what is opened.
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
#: What is opened by an asset's path; by the saver's file name all the others.
_TABLES = ("InitializeTableFromTextFileV2",)

_Place = tuple[str, str, str]  # which path, scope, and a node or an argument of it


def path_misuses(graph: MetaGraph, paths: Paths) -> Iterator[tuple[str, str, str]]:
    """Uses of paths beside opening what they are for.

    Args:
        graph: The meta graph.
        paths: Its assets, and the file name of its saver.

    Yields:
        The operation, where it stands, and why it is refused.
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
    """Where paths enter: tensors that are fed, arguments that objects are bound to."""
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
    """The nodes that get what a function returns; None if others than plain calls do."""
    references = graph.references[function]
    if not all(reference.is_call(function) for reference in references):
        return None
    return [(_SAVER, reference.scope, reference.node.name) for reference in references]


def _onward(
    graph: MetaGraph, paths: Paths, place: _Place, node: Any, position: int
) -> list[_Place] | None:
    """Where a path goes on to from a node's input; None if it may not go in at all."""
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
            # `why_no_asset_variable` has looked at the other uses.
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
    """True if a node makes names of pieces of a checkpoint, as savers of TensorFlow do."""
    return node.op == "Pack" or (position == 0 and is_joined(scope, node))
