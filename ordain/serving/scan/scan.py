"""Scans a SavedModel for anything but computation, before any of it is loaded or run.

A graph is a program: it can read and write files, print, and call back into Python. A model is
refused if any operation in it is not on the list of `ordain.serving.scan.allowed_ops`. The
operations that the model recorded at its export never allow one; they only detect operations added
afterwards. TensorFlow is imported for its messages only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordain.errors import InfrastructureError
from ordain.serving.export.description import Description, read_description
from ordain.serving.scan.allowed_ops import ALLOWED, ASSET_ONLY, SAVER_ONLY, denied_because
from ordain.serving.scan.saved_model_files import (
    asset_files,
    is_asset,
    metadata_texts,
    python_in_metadata,
    unknown_files,
    unreadable_files,
)

#: Larger graphs are refused unread: protobuf's limit is 2 GB, and a message in memory takes several
#: times the size of its file. Text is parsed at about 1 MB a second.
MAX_GRAPH_BYTES = {".pb": 512_000_000, ".pbtxt": 5_000_000}
#: Most nodes, inputs, objects and links; scanning 100,000 takes a second. TFX's taxi model has
#: 5,000.
MAX_PARTS = 2_000_000
#: Problems after which a scan ends.
MAX_PROBLEMS = 100


@dataclass(frozen=True)
class Problem:
    """One reason to refuse a model.

    Attributes:
        op: The operation, or the file if no operation is at fault.
        where: Its place: file, function, node.
        why: The problem, as the end of a sentence that begins with `op`.
    """

    op: str
    where: str
    why: str

    def __str__(self) -> str:
        """The problem in one line; names that a model chose are escaped."""
        text = f"{self.op} ({self.where}) {self.why}" if self.where else f"{self.op} {self.why}"
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def scan(model: str | Path) -> list[Problem]:
    """Finds reasons not to load a model.

    Args:
        model: Folder of the SavedModel.

    Returns:
        One problem for each operation and place, at most `MAX_PROBLEMS`; empty if there are none. A
        failing scan is a problem too.
    """
    found: dict[Problem, None] = {}
    try:
        for problem in _problems(Path(model)):
            found[problem] = None
            if len(found) == MAX_PROBLEMS:
                break
    except Exception as error:
        # The model is untrusted input: the scan may raise anything.
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        found[Problem("saved_model.pb", "", f"cannot be scanned: {what}")] = None
    return list(found)


def _problems(folder: Path) -> Iterator[Problem]:
    is_readable = True
    for name, why in unreadable_files(folder):
        yield Problem(name, "", why)
        is_readable = False
    if not is_readable:
        return  # Opens nothing then: a pipe would block, a link could lead to a device.
    description = None
    try:
        description = read_description(folder)
    except InfrastructureError as error:
        yield Problem("assets/ordain.json", "", f"cannot be read: {error.message}")
    graphs = []
    names = [n for n in ("saved_model.pb", "saved_model.pbtxt") if (folder / n).is_file()]
    if not names:
        yield Problem("saved_model.pb", "", "is missing")
    for name in names:
        try:
            graphs.append((name, _read(folder / name)))
        except (OSError, ValueError, RecursionError) as error:
            yield Problem(name, "", f"cannot be read: {str(error).partition(chr(10))[0]}")
    yield from _in_files(folder, [saved for _, saved in graphs])
    for name, saved in graphs:
        yield from _in_graphs(name, saved, folder, description)
    yield from _in_metadata(folder)


def _read(path: Path) -> Any:
    """Reads a `SavedModel` message from a file.

    Raises:
        ValueError: The file is too large, or not such a message.
        OSError: It cannot be read.
    """
    from google.protobuf import text_format  # noqa: PLC0415
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from tensorflow.core.protobuf import saved_model_pb2  # noqa: PLC0415

    limit = MAX_GRAPH_BYTES[path.suffix]
    if path.stat().st_size > limit:
        raise ValueError(f"larger than {limit} bytes")
    data = path.read_bytes()
    try:
        if path.suffix == ".pb":
            saved = saved_model_pb2.SavedModel.FromString(data)
        else:
            saved = text_format.Parse(data, saved_model_pb2.SavedModel())
    except (DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"not a SavedModel: {error}") from error
    if not saved.meta_graphs:
        raise ValueError("not a SavedModel: it holds no graph")
    return saved


def _in_files(folder: Path, graphs: Iterable[Any]) -> Iterator[Problem]:
    assets = {a.filename for saved in graphs for m in saved.meta_graphs for a in asset_files(m)}
    for name, why in unknown_files(folder, assets):
        yield Problem(name, "", why)


def _in_graphs(
    file: str, saved: Any, folder: Path, description: Description | None
) -> Iterator[Problem]:
    from ordain.serving.scan.meta_graph import count_parts  # noqa: PLC0415

    if count_parts(saved, MAX_PARTS) > MAX_PARTS:
        yield Problem(file, "", f"has more than {MAX_PARTS} nodes and links")
        return
    if len(saved.meta_graphs) != 1:
        why = f"holds {len(saved.meta_graphs)} meta graphs: what is loaded depends on who loads it"
        yield Problem(file, "", why)
    try:
        for op, where, why in _in_nodes(saved, folder, description):
            yield Problem(op, f"{file}, {where}", why)
    except ValueError as error:
        yield Problem(file, "", f"cannot be scanned: {error}")


def _in_nodes(
    saved: Any, folder: Path, description: Description | None
) -> Iterator[tuple[str, str, str]]:
    from ordain.serving.export.saved_model_graph import nodes_of  # noqa: PLC0415
    from ordain.serving.scan.entry_points import entry_faults  # noqa: PLC0415
    from ordain.serving.scan.file_paths import Paths  # noqa: PLC0415
    from ordain.serving.scan.handles import handle_faults  # noqa: PLC0415
    from ordain.serving.scan.meta_graph import MetaGraph  # noqa: PLC0415
    from ordain.serving.scan.object_graph import is_elsewhere, object_faults  # noqa: PLC0415
    from ordain.serving.scan.path_uses import path_misuses  # noqa: PLC0415

    registered = _registered()
    graphs = [MetaGraph(meta) for meta in saved.meta_graphs]
    traced = [Paths(graph, folder) for graph in graphs]
    recorded = frozenset(description.operations) if description is not None else None
    for graph, paths in zip(graphs, traced, strict=True):
        yield from graph.faults
        yield from _beside_nodes(graph, folder, description)
        for name in sorted(registered & graph.functions.keys()):
            yield name, "function", "has the name of an operation"
        yield from object_faults(graph)
        yield from entry_faults(graph)
        yield from path_misuses(graph, paths)
        yield from handle_faults(graph.meta)
    for located in nodes_of(saved):
        node = located.node
        if located.nested:
            for op, _, fault in handle_faults(node):
                yield op, located.where, fault
        if node.op not in graphs[located.meta].functions or node.op in registered:
            why = _why_refused(located, traced[located.meta], recorded, registered)
            if why:
                yield node.op, located.where, why
        if is_elsewhere(node.device):
            yield node.op, located.where, f"is placed on another machine: {node.device}"


def _beside_nodes(
    graph: Any, folder: Path, description: Description | None
) -> Iterator[tuple[str, str, str]]:
    """Faults of a meta graph outside of its nodes: assets, signatures, Keras metadata."""
    from ordain.serving.scan.entry_points import INIT_SIGNATURE  # noqa: PLC0415
    from ordain.serving.scan.handles import HANDLES  # noqa: PLC0415

    for asset in asset_files(graph.meta):
        if not is_asset(folder, asset.filename):
            yield asset.filename, "asset", "is named as an asset and is not in assets/"
    for name in sorted(graph.signature_inputs):
        # Otherwise a request could replace any value inside, such as a file's name.
        node = graph.graph.nodes.get(name)
        if node is None or not node.op.startswith("Placeholder"):
            yield name, "signature", "is an input that is no placeholder"
        elif node.attr["dtype"].type in HANDLES:
            yield name, "signature", "is an input that takes handles or variants"
    if description is not None:
        for name in sorted(graph.meta.signature_def.keys() - description.signatures.keys()):
            if name != INIT_SIGNATURE:
                yield name, "signature", "was not in the model when it was exported"
    metadata = [node.user_object.metadata for node in graph.meta.object_graph_def.nodes]
    if python_in_metadata(text for text in metadata if text):
        yield "Lambda", "object graph", "layer holds Python bytecode"


def _why_refused(
    located: Any, paths: Any, recorded: frozenset[str] | None, registered: frozenset[str]
) -> str | None:
    """Reason why an operation is refused in its place; None if it is not.

    The first rule that applies:

    1. it saves, restores or fills a table, and its path is the saver's file name or an asset's:
       allowed here (`entry_points` checks what may run it);
    2. it is on the deny-list: refused, even if it was recorded;
    3. TensorFlow does not have it: refused as a custom operation;
    4. it is not on the allow-list: refused;
    5. it was not recorded at the export: refused as added afterwards.
    """
    operation = located.node.op
    reason = denied_because(operation)
    if operation in SAVER_ONLY | ASSET_ONLY:
        if located.nested:
            return reason
        why = paths.why_refused(located.function, located.node)
        if why:
            return f"{reason}: {why}"
    elif reason:
        return reason
    elif operation not in registered:
        return "is a custom operation: TensorFlow has none of that name"
    elif operation not in ALLOWED:
        return "is not among the operations that a model may hold"
    if recorded is not None and operation not in recorded:
        return "was not in the model when it was exported: the graph was changed since"
    return None


def _registered() -> frozenset[str]:
    """All operations registered in TensorFlow."""
    from tensorflow.core.framework import op_def_pb2  # noqa: PLC0415
    from tensorflow.python.client import pywrap_tf_session  # noqa: PLC0415

    buffer = pywrap_tf_session.TF_GetAllOpList()
    operations = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(buffer))
    return frozenset(operation.name for operation in operations.op)


def _in_metadata(folder: Path) -> Iterator[Problem]:
    path = folder / "keras_metadata.pb"
    if not path.is_file():
        return
    try:
        has_python = python_in_metadata(metadata_texts(path))
    except (OSError, ValueError) as error:
        yield Problem(path.name, "", f"cannot be read: {error}")
        return
    if has_python:
        yield Problem("Lambda", path.name, "layer holds Python bytecode")
