"""Where the path of each asset goes: into the initializer of a table, and nowhere else.

The path enters the graph in a tensor that a loader feeds, and functions as an object that is bound
to an argument. Both are followed forward. A model that does anything else with it could hand it
to a request, or to whatever comes after an operation that this scan has no rule for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serving.scan_graph import CALLS, MetaGraph, node_name, tensor_infos
from serving.scan_paths import Paths

_Place = tuple[str, str]  # scope, and a node or an argument of it
_WHY = "uses the path of an asset, which only the initializer of a table may"


def asset_misuses(graph: MetaGraph, paths: Paths) -> Iterator[tuple[str, str, str]]:
    """Uses of assets' paths beside filling tables.

    Args:
        graph: The meta graph.
        paths: Its assets.

    Yields:
        The operation, where it stands, and why it is refused.
    """
    waiting = list(_entrances(graph, paths))
    outputs = {
        node_name(info.name): name
        for name, signature in graph.meta.signature_def.items()
        for info in tensor_infos(signature.outputs.values())
    }
    seen: set[tuple[str, str]] = set()
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        scope_name, name = place
        scope = graph.scope(scope_name)
        if scope_name and name in scope.results:
            yield scope_name, "function", "returns the path of an asset"
        if not scope_name and name in outputs:
            yield outputs[name], "signature", "returns the path of an asset"
        for node, position in scope.consumers.get(name, ()):
            onward = _onward(graph, paths, place, node, position)
            if onward is None:
                where = f"function {scope_name}, " if scope_name else ""
                yield node.op, f"{where}node {node.name}", _WHY
            else:
                waiting += onward


def _entrances(graph: MetaGraph, paths: Paths) -> Iterator[_Place]:
    """Where paths of assets enter: tensors that are fed, arguments that objects are bound to."""
    for name in sorted(paths.asset_nodes):
        yield "", name
    for function, references in graph.references.items():
        arguments = graph.functions[function].argument_names
        for reference in references:
            for offset, number in enumerate(reversed(reference.bound or ())):
                if number in paths.asset_objects and offset < len(arguments):
                    yield function, arguments[-1 - offset]


def _onward(
    graph: MetaGraph, paths: Paths, place: _Place, node: Any, position: int
) -> list[_Place] | None:
    """Where a path goes on to from a node's input; None if it may not go in at all."""
    scope, name = place
    if name in graph.scope(scope).nodes and graph.scope(scope).nodes[name].op == "VarHandleOp":
        # `why_no_asset_variable` has looked at the other uses.
        return [(scope, node.name)] if node.op == "ReadVariableOp" else []
    if node.op == "InitializeTableFromTextFileV2" and position == 1:
        return []
    if node.op == "Identity":
        return [(scope, node.name)]
    if node.op == "AssignVariableOp" and position == 1 and not scope:
        variable = node_name(node.input[0])
        return None if paths.why_no_asset_variable(variable) else [("", variable)]
    callee = node.op if node.op in graph.functions else node.attr["f"].func.name
    if node.op not in (*CALLS, callee) or callee not in graph.functions:
        return None
    function = graph.functions[callee]
    if function.takes_lists or position >= len(function.argument_names):
        return None
    return [(callee, function.argument_names[position])]
