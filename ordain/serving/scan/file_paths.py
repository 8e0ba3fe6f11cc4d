"""Traces the path of each file operation back to its origin.

A model saves and restores its variables, and fills tables from its assets. The operations for it
could overwrite or read any file, so each path is traced back, through calls, to its origin: it must
be the file name that TensorFlow's saver feeds, or an asset's path. Operations whose path has any
other or an unknown origin are refused.

Each value is visited once, so the time is linear in the graph.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ordain.serving.scan.meta_graph import FILE_OPS, MetaGraph, Scope, node_name
from ordain.serving.scan.saved_model_files import asset_files, is_asset

#: Allowed origins of a path: a saver's file name, that name with a saver's suffixes, an asset's
#: path, a variable that holds an asset's path.
_NAME, _PARTS, _ASSET, _VARIABLE = "name", "parts", "asset", "variable"
#: Inputs that are paths, by operation, and their allowed origin.
PATHS = {
    "RestoreV2": ((0, _NAME),),
    "SaveV2": ((0, _PARTS),),
    "ShardedFilename": ((0, _PARTS),),
    "MergeV2Checkpoints": ((0, _PARTS), (1, _NAME)),
    "InitializeTableFromTextFileV2": ((1, _ASSET),),
}
assert PATHS.keys() == FILE_OPS.keys()  # noqa: S101 - a further file op needs its paths here
#: Suffixes that TensorFlow's savers append to the file name.
_ENDING = re.compile(rb"\.part|_temp(_[0-9a-f]{32})?/part")
#: Allowed uses of a variable that holds an asset's path.
_VARIABLE_USES = ("ReadVariableOp", "VarIsInitializedOp", "DisableCopyOnRead")

_Value = tuple[str, str, str]  # allowed origin, scope, tensor


class Paths:
    """The traced paths of one meta graph.

    Attributes:
        asset_nodes: Nodes of the graph that are fed the path of an asset.
        asset_objects: Objects that `tf.saved_model.load` turns into an asset's path.
        file_name: The node that is fed the saver's file name; empty if there is none.
    """

    def __init__(self, graph: MetaGraph, folder: Path) -> None:
        """Traces all paths of a meta graph; assets must be in the model's folder."""
        self._graph = graph
        self.asset_nodes = {
            node_name(asset.tensor_info.name)
            for asset in asset_files(graph.meta)
            if is_asset(folder, asset.filename) and self._is_fed(asset.tensor_info.name)
        }
        self.asset_objects = {
            number
            for number, node in enumerate(graph.meta.object_graph_def.nodes)
            if self._is_asset_object(node, folder)
        }
        name = graph.meta.saver_def.filename_tensor_name
        self.file_name = node_name(name) if self._is_fed(name) else ""
        self._variables: dict[str, str | None] = {}
        self._handles = Counter(
            _shared_name(node)
            for scope in graph.scopes
            for node in scope.nodes.values()
            if node.op == "VarHandleOp"
        )
        self._refused = self._trace()

    def why_refused(self, scope: str, node: Any) -> str | None:
        """Reason why a path of an operation is not allowed, as "its path ..."; or None."""
        for position, origin in PATHS[node.op]:
            if position >= len(node.input):
                return "its path is missing"
            why = self._refused.get((origin, scope, node.input[position]))
            if why:
                return why
        return None

    def why_no_asset_variable(self, name: str) -> str | None:
        """Reason why a variable of the graph may hold more than an asset's path; or None."""
        if name not in self._variables:
            self._variables[name] = self._find_why_no_asset_variable(name)
        return self._variables[name]

    def _find_why_no_asset_variable(self, name: str) -> str | None:
        variable = self._graph.graph.nodes.get(name)
        if variable is None or variable.op != "VarHandleOp":
            return f"its path is read from {name}, which is no variable of the graph"
        if not self._graph.has_objects:
            # TensorFlow 1 passes an asset's path on directly.
            return f"its path is kept in the variable {name}"
        if not variable.attr["shared_name"].s:
            return f"its path is read from the variable {name}, which has no name"
        if self._handles[_shared_name(variable)] != 1:
            # Handles with the same name are the same variable.
            return f"its path is read from the variable {name}, which has two handles"
        for node, position in self._graph.graph.consumers.get(name, ()):
            is_assigned = node.op == "AssignVariableOp" and position == 0
            if not is_assigned and node.op not in _VARIABLE_USES:
                return f"its path is read from the variable {name}, which {node.op} may change"
        return None

    def _is_fed(self, tensor: str) -> bool:
        """True if a tensor of the graph has only the value that TensorFlow's loader feeds.

        TensorFlow 1 writes constants and feeds their tensors; `entry_points` checks which entry
        points could run them unfed.
        """
        node = self._graph.graph.nodes.get(node_name(tensor))
        kinds: tuple[str, ...] = ("Placeholder",)
        if not self._graph.has_objects:
            kinds = ("Placeholder", "PlaceholderWithDefault", "Const")
        return (
            node is not None
            and node.op in kinds
            and tensor in (node.name, f"{node.name}:0")
            and node.name not in self._graph.signature_inputs
            and not any(i.startswith("^") for i in node.input)
        )

    def _is_asset_object(self, node: Any, folder: Path) -> bool:
        files = self._graph.meta.asset_file_def
        return (
            node.WhichOneof("kind") == "asset"
            # A registered class would build another object; a child could replace the path.
            and not node.registered_name
            and not node.children
            and 0 <= node.asset.asset_file_def_index < len(files)
            and is_asset(folder, files[node.asset.asset_file_def_index].filename)
        )

    def _trace(self) -> dict[_Value, str]:
        """Values that are not allowed as paths, with the reason."""
        refused: dict[_Value, str] = {}
        users: dict[_Value, list[_Value]] = {}
        open_sources: dict[_Value, int] = {}
        waiting = list(self._wanted())
        while waiting:
            value = waiting.pop()
            if value in open_sources:
                continue
            try:
                found = list(dict.fromkeys(self._sources(*value)))
            except _NoPathError as error:
                refused[value], found = str(error), []
            open_sources[value] = len(found)
            for source in found:
                users.setdefault(source, []).append(value)
            waiting += found
        # Propagates the result of each source to the values made of it.
        settled = [value for value, count in open_sources.items() if not count]
        while settled:
            source = settled.pop()
            for value in users.get(source, ()):
                open_sources[value] -= 1
                if source in refused:
                    refused.setdefault(value, refused[source])
                if not open_sources[value]:
                    settled.append(value)
        for value, count in open_sources.items():
            if count:
                refused.setdefault(value, "its path goes round in a circle")
        return refused

    def _wanted(self) -> Iterator[_Value]:
        """The paths of all operations on files."""
        for scope in self._graph.scopes:
            for node in scope.nodes.values():
                for position, origin in PATHS.get(node.op, ()):
                    if position < len(node.input):
                        yield (origin, scope.name, node.input[position])

    def _sources(self, origin: str, scope_name: str, reference: str) -> Iterator[_Value]:
        """The values that a value is made of; none for an allowed origin.

        Raises:
            _NoPathError: A path must not be made of it.
        """
        if origin == _VARIABLE:
            yield from self._assigned(reference)
            return
        scope = self._graph.scope(scope_name)
        if scope_name and reference in scope.arguments:
            yield from self._given(origin, scope, reference)
            return
        name = node_name(reference)
        node = scope.nodes.get(name)
        if node is None or reference.startswith("^"):
            raise _NoPathError(f"its path comes from {reference}, which is nowhere")
        inputs = [(origin, scope_name, i) for i in node.input if not i.startswith("^")]
        if not scope_name and (
            name in self.asset_nodes if origin == _ASSET else name == self.file_name
        ):
            return
        hands_on = ("Identity", "ShardedFilename") if origin == _PARTS else ("Identity",)
        if node.op in hands_on and inputs:
            yield inputs[0]
        elif origin == _PARTS and node.op == "Pack":
            yield from inputs
        elif origin == _PARTS and is_joined(scope, node):
            yield inputs[0]
        elif (
            origin == _ASSET
            and node.op == "ReadVariableOp"
            and not scope_name
            and inputs
            and self._graph.has_objects
        ):
            yield (_VARIABLE, "", node_name(node.input[0]))
        else:
            raise _NoPathError(
                f"its path comes from {node.op} {name}, not from "
                + ("an asset" if origin == _ASSET else "the file name that a saver is given")
            )

    def _given(self, origin: str, scope: Scope, argument: str) -> Iterator[_Value]:
        """The argument's value at every reference to its function."""
        index, function = scope.arguments[argument], scope.name
        references = self._graph.references[function]
        if not references:
            raise _NoPathError(f"its path is an argument of {function}, which nothing calls")
        if scope.takes_lists:
            raise _NoPathError(f"its path is one of a list of arguments of {function}")
        for reference in references:
            if reference.bound is not None:
                # `tf.saved_model.load` binds a function's last arguments to objects.
                position = index - (len(scope.arguments) - len(reference.bound))
                is_bound = 0 <= position < len(reference.bound)
                if not is_bound or len(reference.bound) > len(scope.arguments):
                    raise _NoPathError(
                        f"its path is an argument of {function}, which {reference.what} lets "
                        "anyone call"
                    )
                if origin != _ASSET or reference.bound[position] not in self.asset_objects:
                    raise _NoPathError(
                        f"its path is an argument of {function}, which {reference.what} binds to "
                        f"object {reference.bound[position]}"
                    )
            elif not reference.is_call(function) or index >= len(reference.node.input):
                raise _NoPathError(
                    f"its path is an argument of {function}, which {reference.what} names without "
                    "a plain call"
                )
            else:
                yield (origin, reference.scope, reference.node.input[index])

    def _assigned(self, variable: str) -> Iterator[_Value]:
        why = self.why_no_asset_variable(variable)
        if why:
            raise _NoPathError(why)
        uses = self._graph.graph.consumers.get(variable, ())
        values = [n.input[1] for n, _ in uses if n.op == "AssignVariableOp" and len(n.input) > 1]
        if not values:
            raise _NoPathError(f"its path is read from the variable {variable}, never assigned")
        for value in values:
            yield (_ASSET, "", value)


class _NoPathError(Exception):
    """A value that is not allowed in a path; the text continues the operation's reason."""


def is_joined(scope: Scope, node: Any) -> bool:
    """True if a node only appends a suffix of TensorFlow's savers to its first input."""
    return (
        node.op == "StringJoin"
        and len(node.input) == 2
        and not node.attr["separator"].s
        and _is_ending(scope, node.input[1])
    )


def _is_ending(scope: Scope, reference: str) -> bool:
    node = scope.nodes.get(node_name(reference))
    if node is not None and node.op == "Select" and len(node.input) >= 3:
        both = [scope.nodes.get(node_name(name)) for name in node.input[1:3]]
        return all(map(_is_constant_ending, both))
    return _is_constant_ending(node)


def _is_constant_ending(node: Any) -> bool:
    if node is None or node.op != "Const":
        return False
    values = node.attr["value"].tensor.string_val
    return len(values) == 1 and bool(_ENDING.fullmatch(values[0]))


def _shared_name(variable: Any) -> str:
    return str(variable.attr["shared_name"].s.decode(errors="replace"))
