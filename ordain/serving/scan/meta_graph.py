"""Index of one meta graph: its scopes, every reference to a function, its file operations.

A function is referenced by the nodes that call it, by the objects of the object graph, by
gradients, aliases and attributes. The scan traces arguments through every reference, so the index
must be complete: the arguments of a function without references are unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ordain.serving.export.saved_model_graph import called_functions
from ordain.serving.scan.allowed_ops import ASSET_ONLY, SAVER_ONLY

#: Deepest nesting of calls; exported models have fewer than twenty levels.
MAX_CALL_DEPTH = 100
#: Operations that call one function with their inputs as its arguments.
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
#: File operations that are allowed in certain places, one bit each.
FILE_OPS = {name: 1 << i for i, name in enumerate(sorted(SAVER_ONLY | ASSET_ONLY))}
RESTORING = FILE_OPS["RestoreV2"]
SAVING = sum(FILE_OPS[name] for name in SAVER_ONLY - {"RestoreV2"})
READING_ASSETS = sum(FILE_OPS[name] for name in ASSET_ONLY)


@dataclass(frozen=True)
class Reference:
    """One reference to a function.

    Attributes:
        what: Readable place.
        scope: Scope of the calling node; empty for the graph.
        node: The calling `NodeDef`; None if the reference is not a node.
        bound: Objects that are bound to its last arguments; None if no object references it.
    """

    what: str
    scope: str = ""
    node: Any = None
    bound: tuple[int, ...] | None = None

    def is_call(self, function: str) -> bool:
        """True if the node's inputs are the function's arguments, in their order."""
        if self.node is None:
            return False
        return self.node.op == function or (
            self.node.op in CALLS and self.node.attr["f"].func.name == function
        )


@dataclass
class Scope:
    """The graph itself, or one function of its library.

    Attributes:
        name: The function's name; empty for the graph.
        nodes: `NodeDef` by name.
        arguments: Position by name.
        results: Nodes and arguments whose values a function returns.
        takes_lists: Whether an argument is a list of tensors.
    """

    name: str
    nodes: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, int] = field(default_factory=dict)
    results: frozenset[str] = frozenset()
    takes_lists: bool = False

    @cached_property
    def argument_names(self) -> list[str]:
        """The arguments in their order."""
        return list(self.arguments)

    @cached_property
    def consumers(self) -> dict[str, list[tuple[Any, int]]]:
        """Consumers of each node or argument: the consuming node and its input position."""
        found: dict[str, list[tuple[Any, int]]] = {}
        for node in self.nodes.values():
            for position, reference in enumerate(node.input):
                if not reference.startswith("^"):
                    found.setdefault(node_name(reference), []).append((node, position))
        return found


class MetaGraph:
    """An indexed `MetaGraphDef`.

    Attributes:
        meta: The message.
        graph: The graph's own nodes.
        functions: The library by name.
        references: Every reference to a function, by its name.
        faults: Faults of names and calls: what, where, why.
        signature_inputs: Nodes that a request feeds.
    """

    def __init__(self, meta: Any) -> None:
        """Indexes the message; problems are recorded in `faults`."""
        self.meta = meta
        self.faults: list[tuple[str, str, str]] = []
        self.graph = self._scope("", meta.graph_def.node, ())
        self.functions: dict[str, Scope] = {}
        for function in meta.graph_def.library.function:
            name = function.signature.name
            if name in self.functions:
                self.faults.append((name, "function", "is the name of two functions"))
                continue
            scope = self._scope(name, function.node_def, function.signature.input_arg)
            scope.results = frozenset(map(node_name, function.ret.values()))
            self.functions[name] = scope
        self.references: dict[str, list[Reference]] = {name: [] for name in self.functions}
        self._calls: dict[str, set[str]] = {}
        self._index_calls()
        self._index_names()
        self._masks = self._order()
        self.signature_inputs = {
            node_name(info.name)
            for signature in meta.signature_def.values()
            for info in tensor_infos(signature.inputs.values())
        }

    @property
    def has_objects(self) -> bool:
        """True for TensorFlow 2's format, whose objects `tf.saved_model.load` builds."""
        return bool(self.meta.HasField("object_graph_def"))

    @property
    def scopes(self) -> Iterator[Scope]:
        """The graph, then all functions."""
        yield self.graph
        yield from self.functions.values()

    def scope(self, name: str) -> Scope:
        """The graph (empty name), or a function."""
        return self.functions[name] if name else self.graph

    def file_ops(self, node: Any) -> int:
        """The bits of `FILE_OPS` that a node runs, including called functions."""
        found = FILE_OPS.get(node.op, 0)
        for name in (node.op, *called_functions(node.attr)):
            found |= self._masks.get(name, 0)
        return found

    def file_ops_of(self, function: str) -> int:
        """The bits of `FILE_OPS` that a call of a function runs."""
        return self._masks.get(function, 0)

    def _scope(self, name: str, nodes: Iterable[Any], arguments: Iterable[Any]) -> Scope:
        scope = Scope(name)
        place = f"function {name}, " if name else ""
        for position, argument in enumerate(arguments):
            if argument.name in scope.arguments:
                self.faults.append((argument.name, f"{place}arguments", "is there twice"))
            scope.arguments[argument.name] = position
            scope.takes_lists |= bool(argument.number_attr or argument.type_list_attr)
        for node in nodes:
            if node.name in scope.nodes or node.name in scope.arguments:
                why = "has the name of another node or argument"
                self.faults.append((node.op, f"{place}node {node.name}", why))
                continue
            scope.nodes[node.name] = node
        return scope

    def _index_calls(self) -> None:
        for scope in self.scopes:
            place = f"function {scope.name}, " if scope.name else ""
            called = self._calls.setdefault(scope.name, set())
            for node in scope.nodes.values():
                where = f"{place}node {node.name}"
                for name in {*called_functions(node.attr), node.op}:
                    if name in self.functions:
                        called.add(name)
                        self.references[name].append(Reference(where, scope.name, node))
                    elif name != node.op:
                        why = f"calls {name}, which the model lacks"
                        self.faults.append((node.op, where, why))
                self._index_attributes(node.attr, where)

    def _index_names(self) -> None:
        """Indexes references that are not calls by nodes."""
        library = self.meta.graph_def.library
        for function in library.function:
            self._index_attributes(function.attr, f"function {function.signature.name}")
            if "api_implements" in function.attr:
                # Grappler swaps functions that implement the same interface.
                self._refer(function.signature.name, "attribute api_implements")
        for gradient in (*library.gradient, *library.registered_gradients):
            self._refer(gradient.gradient_func, "a gradient")
        for name in self.meta.meta_info_def.function_aliases:
            self._refer(name, "a function alias")
        objects = self.meta.object_graph_def
        named = dict.fromkeys(objects.concrete_functions, "object graph")
        for number, node in enumerate(objects.nodes):
            for name in functions_of_object(node):
                named[name] = f"object {number}"
                if name not in self.functions:
                    why = f"names the function {name}, which the model lacks"
                    self.faults.append((f"object {number}", "object graph", why))
        for name, what in named.items():
            bound: tuple[int, ...] = ()
            if name in objects.concrete_functions:
                bound = tuple(objects.concrete_functions[name].bound_inputs)
            if name in self.references:
                self.references[name].append(Reference(what, bound=bound))

    def _index_attributes(self, attributes: Any, where: str) -> None:
        for key, value in attributes.items():
            if value.WhichOneof("value") == "s" and len(value.s) < 1000:
                name = value.s.decode(errors="replace")
                if name in self.references:
                    self._refer(name, f"{where}, attribute {key}")

    def _refer(self, function: str, what: str) -> None:
        if function in self.references:
            self.references[function].append(Reference(what))

    def _order(self) -> dict[str, int]:
        """The file operations of each function, in one pass with callees first."""
        waiting = {name: len(self._calls[name]) for name in self.functions}
        callers: dict[str, list[str]] = {name: [] for name in self.functions}
        for caller in self.functions:
            for callee in self._calls[caller]:
                callers[callee].append(caller)
        ready = [name for name, count in waiting.items() if not count]
        masks: dict[str, int] = {}
        depths: dict[str, int] = {}
        while ready:
            name = ready.pop()
            calls = self._calls[name]
            depths[name] = 1 + max((depths[c] for c in calls), default=0)
            mask = 0
            for node in self.functions[name].nodes.values():
                mask |= FILE_OPS.get(node.op, 0)
            for callee in calls:
                mask |= masks[callee]
            masks[name] = mask
            for caller in callers[name]:
                waiting[caller] -= 1
                if not waiting[caller]:
                    ready.append(caller)
        for name in self.functions:
            if name not in masks:
                masks[name] = sum(FILE_OPS.values())
                self.faults.append((name, "function", "calls itself, directly or through others"))
        deepest = max(depths, key=depths.__getitem__, default="")
        if deepest and depths[deepest] > MAX_CALL_DEPTH:
            why = f"calls functions more than {MAX_CALL_DEPTH} deep"
            self.faults.append((deepest, "function", why))
        return masks


def count_parts(saved: Any, limit: int) -> int:
    """Counts nodes, inputs, objects and their links in a `SavedModel`, up to the limit."""
    count = 0
    for meta in saved.meta_graphs:
        objects = meta.object_graph_def
        library = meta.graph_def.library
        for nodes in (meta.graph_def.node, *(f.node_def for f in library.function)):
            for node in nodes:
                count += 1 + len(node.input) + len(node.attr)
            if count > limit:
                return count
        count += sum(
            1 + len(n.children) + len(n.dependencies) + len(n.slot_variables) for n in objects.nodes
        )
        count += sum(1 + len(f.bound_inputs) for f in objects.concrete_functions.values())
        count += sum(1 + len(s.inputs) + len(s.outputs) for s in meta.signature_def.values())
    return count


def functions_of_object(node: Any) -> Iterator[str]:
    """Functions that a `SavedObject` references itself, without its children."""
    kind = node.WhichOneof("kind")
    if kind == "function":
        yield from node.function.concrete_functions
    elif kind == "bare_concrete_function":
        yield node.bare_concrete_function.concrete_function_name
    elif kind == "captured_tensor":
        yield node.captured_tensor.concrete_function


def tensor_infos(infos: Iterable[Any]) -> Iterator[Any]:
    """Flattens `TensorInfo`s; sparse and composite ones consist of several tensors."""
    for info in infos:
        kind = info.WhichOneof("encoding")
        if kind == "coo_sparse":
            sparse = info.coo_sparse
            for name in (
                sparse.values_tensor_name,
                sparse.indices_tensor_name,
                sparse.dense_shape_tensor_name,
            ):
                yield type(info)(name=name)
        elif kind == "composite_tensor":
            yield from tensor_infos(info.composite_tensor.components)
        else:
            yield info


def node_name(reference: str) -> str:
    """The node that a tensor or a control input belongs to."""
    return reference.removeprefix("^").partition(":")[0]
