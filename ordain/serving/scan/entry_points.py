"""Checks which file operations each entry point of a graph reaches.

A graph runs from what is fetched: a request fetches the outputs of a signature, a loader the init
op (feeding the assets' paths) and the restore op (feeding the variables' path), a saver the save
tensor. Only the init op may fill tables from assets, only the restore op may restore, and only the
save tensor may save: any other entry point would run them with a path that the model chose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ordain.serving.scan.allowed_ops import denied_because
from ordain.serving.scan.meta_graph import (
    FILE_OPS,
    READING_ASSETS,
    RESTORING,
    SAVING,
    MetaGraph,
    node_name,
    tensor_infos,
)

_WHY = {name: denied_because(name) for name in FILE_OPS}
#: The signature that holds the init op; a server does not offer it.
INIT_SIGNATURE = "__saved_model_init_op"
#: Operations that remove a filled table.
_DESTROYING = ("DestroyResourceOp", "DeleteSessionTensor")
#: Collections whose operations a loader runs. The last is run if there is no init op.
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op", "table_initializer")


def entry_faults(graph: MetaGraph) -> Iterator[tuple[str, str, str]]:
    """Finds file operations that an entry point must not reach.

    Yields:
        The operation, the entry point, and why it is refused.
    """
    saver = graph.meta.saver_def
    yield from _reached(graph, "restore op", [saver.restore_op_name], RESTORING)
    yield from _reached(graph, "save tensor", [saver.save_tensor_name], SAVING)
    yield from _reached(graph, "init op", _init_ops(graph), READING_ASSETS)
    yield from _of_init_signature(graph)
    # All signatures in one traversal: a thousand of them may share one graph.
    outputs = [
        info.name
        for name, signature in graph.meta.signature_def.items()
        if name != INIT_SIGNATURE
        for info in tensor_infos(signature.outputs.values())
    ]
    yield from _reached(graph, "signature", outputs, 0)
    yield from _from_objects(graph)


def _of_init_signature(graph: MetaGraph) -> Iterator[tuple[str, str, str]]:
    """Checks calls of the init op as a signature, without the assets' paths fed.

    TensorFlow's loader exposes it with the other signatures of a model without objects. The tables
    are filled already, so it does nothing then, unless a table was destroyed before.
    """
    if INIT_SIGNATURE in graph.meta.signature_def:
        signature = graph.meta.signature_def[INIT_SIGNATURE]
        if signature.inputs or list(signature.outputs) != [INIT_SIGNATURE]:
            yield INIT_SIGNATURE, "signature", "takes or gives more than the init op"
    if not graph.has_objects:
        for scope in graph.scopes:
            for node in scope.nodes.values():
                if node.op in _DESTROYING:
                    why = "would have a table filled again, from a path that nobody feeds"
                    yield node.op, f"node {node.name}", why


def _init_ops(graph: MetaGraph) -> Iterator[str]:
    """All operations that a loader runs to initialize a model."""
    from tensorflow.core.framework import variable_pb2  # noqa: PLC0415

    meta = graph.meta
    if INIT_SIGNATURE in meta.signature_def:
        for info in meta.signature_def[INIT_SIGNATURE].outputs.values():
            yield info.name
    for key in _INIT_COLLECTIONS:
        if key in meta.collection_def:
            yield from meta.collection_def[key].node_list.value
    if "local_variables" in meta.collection_def:
        for raw in meta.collection_def["local_variables"].bytes_list.value:
            yield variable_pb2.VariableDef.FromString(raw).initializer_name


def _reached(
    graph: MetaGraph, entry: str, fetched: Iterable[str], allowed: int
) -> Iterator[tuple[str, str, str]]:
    """File operations that the fetched tensors depend on; fed tensors end in placeholders."""
    nodes = graph.graph.nodes
    waiting = [node_name(reference) for reference in fetched]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        node = nodes[name]
        for operation in _names(graph.file_ops(node) & ~allowed):
            yield operation, f"node {name}", f"{_WHY[operation]}, and the {entry} reaches it"
        waiting += map(node_name, node.input)


def _from_objects(graph: MetaGraph) -> Iterator[tuple[str, str, str]]:
    """File operations of functions of objects, which Python code calls at load or later."""
    for function, references in graph.references.items():
        for reference in references:
            if reference.node is None:
                for operation in _names(graph.file_ops_of(function) & ~READING_ASSETS):
                    why = f"{_WHY[operation]}, and {reference.what} names the function"
                    yield operation, f"function {function}", why


def _names(bits: int) -> Iterator[str]:
    """Names of the operations in a mask of `FILE_OPS` bits."""
    if bits:
        for name, bit in FILE_OPS.items():
            if bits & bit:
                yield name
