"""Checks the object graph of a SavedModel, which `tf.saved_model.load` builds in Python.

The loader creates an object for each node, sets its children as attributes, binds them to
functions, and calls functions by name, some during the load. The functions themselves are scanned
with the graph; these checks cover how objects use them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ordain.serving.scan.entry_points import INIT_SIGNATURE
from ordain.serving.scan.handles import HANDLES
from ordain.serving.scan.meta_graph import CALLS, MetaGraph, functions_of_object, node_name

#: Classes that TensorFlow registers, with their kind of node. Any other name would be built by a
#: Python class that other code in the process registered.
_CLASSES = {"tf.TrackableConstant": "constant", "tf.StaticHashTable": "resource"}

_Fault = tuple[str, str, str]


def object_faults(graph: MetaGraph) -> Iterator[_Fault]:
    """Finds faults of the objects of a model.

    Yields:
        The object, its place, and why it is refused.
    """
    nodes = graph.meta.object_graph_def.nodes
    slots = {slot.slot_variable_node_id for node in nodes for slot in node.slot_variables}
    returning = _returning_handles(graph)
    for number, node in enumerate(nodes):
        kind = node.WhichOneof("kind")
        for why in _wrong_with(graph, node, kind, number in slots):
            yield f"object {number}", f"object graph, {kind}", why
        if any(not returning.isdisjoint(functions) for functions in _saving(nodes, node)):
            # Values restored from the checkpoint have the types that the function returns.
            why = "is restored from handles or variants, which may name what another model holds"
            yield f"object {number}", f"object graph, {kind}", why
    for name, function in graph.meta.object_graph_def.concrete_functions.items():
        if any(not 0 <= number < len(nodes) for number in function.bound_inputs):
            yield name, "object graph", "is bound to an object that is not there"
    if nodes:
        yield from _signatures(graph, nodes)


def _wrong_with(graph: MetaGraph, node: Any, kind: str | None, is_slot: bool) -> Iterator[str]:
    nodes = graph.meta.object_graph_def.nodes
    if node.registered_name and _CLASSES.get(node.registered_name) != kind:
        yield f"is to be built by the registered class {node.registered_name}"
    if node.registered_saver:
        yield f"is to be restored by the registered saver {node.registered_saver}"
    if kind == "variable" and node.variable.dtype in HANDLES:
        yield "is a variable of handles or variants, which may name what another model holds"
    if kind == "asset":
        if node.children:
            yield "is an asset with children, which could replace its path"
        if not 0 <= node.asset.asset_file_def_index < len(graph.meta.asset_file_def):
            yield "is an asset that is not there"
    if is_slot and kind != "variable":
        yield "is a slot of an optimizer, and no variable"
    device = getattr(node, kind).device if kind in ("resource", "variable") else ""
    if is_elsewhere(device):
        yield f"is placed on another machine: {device}"
    references = [child.node_id for child in (*node.children, *node.dependencies)]
    for saved in node.saveable_objects.values():
        references += (saved.save_function, saved.restore_function)
    if any(not 0 <= number < len(nodes) for number in references):
        yield "refers to an object that is not there"


def _returning_handles(graph: MetaGraph) -> set[str]:
    """Functions that return a handle, a variant, or a result without a fixed type."""
    return {
        function.signature.name
        for function in graph.meta.graph_def.library.function
        if any(not r.type or r.type in HANDLES for r in function.signature.output_arg)
    }


def _saving(nodes: Any, node: Any) -> Iterator[list[str]]:
    """Functions that a loader calls to find what an object saves."""
    for saved in node.saveable_objects.values():
        if 0 <= saved.save_function < len(nodes):
            yield list(functions_of_object(nodes[saved.save_function]))


def _signatures(graph: MetaGraph, nodes: Any) -> Iterator[_Fault]:
    """Signatures whose function differs from the one in the graph, which was scanned."""
    tops = [child.node_id for child in nodes[0].children if child.local_name == "signatures"]
    if len(tops) > 1:
        yield "signatures", "object graph", "is there twice"
        return
    functions: dict[str, str] = {}
    for top in tops:
        for child in nodes[top].children if 0 <= top < len(nodes) else ():
            if 0 <= child.node_id < len(nodes):
                bare = nodes[child.node_id].bare_concrete_function
                functions[child.local_name] = bare.concrete_function_name
    definitions = graph.meta.signature_def
    offered = {name for name in definitions if name != INIT_SIGNATURE}
    for name in sorted(offered ^ functions.keys()):
        there = "the graph" if name in offered else "the object graph"
        yield name, "signature", f"is a signature of {there} only"
    for name in sorted(offered & functions.keys()):
        for info in definitions[name].outputs.values():
            caller = graph.graph.nodes.get(node_name(info.name))
            called = caller.attr["f"].func.name if caller is not None and caller.op in CALLS else ""
            if info.WhichOneof("encoding") == "name" and called != functions[name]:
                yield name, "signature", f"runs {functions[name]} loaded, {called} in a session"
                break


def is_elsewhere(device: str) -> bool:
    """True if a device belongs to another process."""
    parts = [part for part in device.split("/") if part.startswith("job:")]
    return any(part not in ("job:localhost",) for part in parts) or "grpc" in device
