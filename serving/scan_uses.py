"""The two uses of files that every real model needs, told apart from all others.

A SavedModel saves and restores its own variables through functions that its `saver_def` names,
and fills tables from vocabulary files that it brings along. The operations that do so could as
well overwrite or read any file, so they are allowed in exactly these places.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from serving.graphs import Located, called_functions

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
#: Operations that hand on what they are given.
_HAND_ON = ("Identity",)


class KnownUses:
    """What one meta graph does with its own files."""

    def __init__(self, meta: Any, folder: Path) -> None:
        """Takes the `MetaGraphDef` and the model's folder."""
        self._meta = meta
        self._functions = {f.signature.name: f for f in meta.graph_def.library.function}
        self._nodes = {node.name: node for node in meta.graph_def.node}
        self._callers: dict[str, list[tuple[str, Any]]] = {}
        for scope, node in self._all_nodes():
            for name in {*called_functions(node.attr), node.op}:
                self._callers.setdefault(name, []).append((scope, node))
        self._save, self._restore = self._saver_functions()
        self._assets = {
            asset.tensor_info.name
            for asset in meta.asset_file_def
            if is_asset(folder, asset.filename)
        } - set(signature_inputs(meta))

    def is_saving(self, located: Located) -> bool:
        """Whether a node writes the model's variables where the saver was told to."""
        return self._is_in(located, self._save)

    def is_restoring(self, located: Located) -> bool:
        """Whether a node reads the model's own variables."""
        if not self._is_in(located, self._restore) or located.node.op != "RestoreV2":
            return False
        arguments = self._functions[self._restore].signature.input_arg
        return bool(arguments) and list(located.node.input)[:1] == [arguments[0].name]

    def is_reading_asset(self, located: Located) -> bool:
        """Whether a node fills a table from a file that is the model's own."""
        if located.nested or len(located.node.input) < 2:
            return False
        return self._is_asset(located.function, located.node.input[1], set())

    def _is_in(self, located: Located, function: str) -> bool:
        return bool(function) and not located.nested and located.function == function

    def _saver_functions(self) -> tuple[str, str]:
        """Functions that save and restore, if nothing but the saver reaches them."""
        saver = self._meta.saver_def
        found = []
        for reference in (saver.save_tensor_name, saver.restore_op_name):
            node = self._nodes.get(_node_name(reference))
            name = node.attr["f"].func.name if node is not None and node.op in _CALLS else ""
            is_own = (
                node is not None
                and name in self._functions
                and [caller is node for _, caller in self._callers.get(name, [])] == [True]
                and name not in self._meta.object_graph_def.concrete_functions
                and not self._is_used(node.name)
                # Nothing but the file name is given by whoever loads the model.
                and _node_name(node.input[0] if node.input else "")
                == _node_name(saver.filename_tensor_name)
            )
            found.append(name if is_own else "")
        return found[0], found[1]

    def _is_used(self, name: str) -> bool:
        """Whether another node or a signature wants a node of the graph."""
        wanted = {_node_name(i) for node in self._meta.graph_def.node for i in node.input}
        for signature in self._meta.signature_def.values():
            for info in (*signature.inputs.values(), *signature.outputs.values()):
                wanted.add(_node_name(info.name))
        for key, collection in self._meta.collection_def.items():
            if key != "savers":
                wanted |= {_node_name(value) for value in collection.node_list.value}
        return name in wanted

    def _is_asset(self, scope: str, reference: str, seen: set[tuple[str, str]]) -> bool:
        """Whether a tensor is the path of an asset, however it got here.

        Args:
            scope: The function the tensor is in; empty for the graph.
            reference: The tensor, as a node's input names it.
            seen: Where the search has been, so that it ends.
        """
        if (scope, reference) in seen:
            return True  # a circle adds nothing that was not looked at
        seen.add((scope, reference))
        name = _node_name(reference)
        if not scope:
            node = self._nodes.get(name)
            if node is None:
                return False
            if node.op in _HAND_ON:
                return self._is_asset(scope, node.input[0], seen)
            if node.op == "ReadVariableOp":
                return self._is_asset_variable(_node_name(node.input[0]), seen)
            return node.op in ("Const", "Placeholder") and f"{name}:0" in self._assets
        function = self._functions[scope]
        arguments = [argument.name for argument in function.signature.input_arg]
        if name in arguments and ":" not in reference:
            return self._is_asset_argument(scope, arguments.index(name), len(arguments), seen)
        for node in function.node_def:
            if node.name == name:
                return node.op in _HAND_ON and self._is_asset(scope, node.input[0], seen)
        return False

    def _is_asset_variable(self, name: str, seen: set[tuple[str, str]]) -> bool:
        """Whether a variable of the graph is never anything but an asset's path."""
        variable = self._nodes.get(name)
        if variable is None or variable.op != "VarHandleOp":
            return False
        shared = variable.attr["shared_name"].s
        # Handles of one name are one variable.
        handles = [n for _, n in self._all_nodes() if n.op == "VarHandleOp"]
        if sum(n.attr["shared_name"].s == shared for n in handles) != 1:
            return False
        for node in self._meta.graph_def.node:
            if name not in map(_node_name, node.input):
                continue
            if node.op == "AssignVariableOp" and _node_name(node.input[0]) == name:
                if not self._is_asset("", node.input[1], seen):
                    return False
            elif node.op not in ("ReadVariableOp", "VarIsInitializedOp", "DisableCopyOnRead"):
                return False
        return True

    def _is_asset_argument(
        self, function: str, index: int, count: int, seen: set[tuple[str, str]]
    ) -> bool:
        """Whether an argument is an asset's path at each call of a function."""
        for scope, node in self._callers.get(function, []):
            is_plain = node.op == function or (
                node.op in _CALLS and node.attr["f"].func.name == function
            )
            if not is_plain or index >= len(node.input):
                return False
            if not self._is_asset(scope, node.input[index], seen):
                return False
        # `tf.saved_model.load` binds a function's last arguments to objects of the model.
        objects = self._meta.object_graph_def
        if function in objects.concrete_functions:
            bound = objects.concrete_functions[function].bound_inputs
            position = index - (count - len(bound))
            if position < 0 or not 0 <= bound[position] < len(objects.nodes):
                return False
            node = objects.nodes[bound[position]]
            if node.WhichOneof("kind") != "asset":
                return False
            number = node.asset.asset_file_def_index
            files = self._meta.asset_file_def
            if not 0 <= number < len(files) or files[number].tensor_info.name not in self._assets:
                return False
        return True

    def _all_nodes(self) -> Iterator[tuple[str, Any]]:
        for node in self._meta.graph_def.node:
            yield "", node
        for name, function in self._functions.items():
            for node in function.node_def:
                yield name, node


def signature_inputs(meta: Any) -> list[str]:
    """Tensors that a request gives, by the signatures of a meta graph."""
    return [info.name for s in meta.signature_def.values() for info in s.inputs.values()]


def is_asset(folder: Path, name: str) -> bool:
    """Whether a name is that of a plain file in a model's `assets`, and leads nowhere else."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        return False
    file = folder / "assets" / name
    return file.is_file() and not any(
        p.is_symlink() for p in (file, *file.parents) if p != folder and folder in p.parents
    )


def _node_name(reference: str) -> str:
    """The node that a tensor or a control input belongs to."""
    return reference.removeprefix("^").partition(":")[0]
