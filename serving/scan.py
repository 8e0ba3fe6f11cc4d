"""Whether a SavedModel does no more than compute: read as data, before any of its code runs.

A graph is a program: it can read and write files, print, and call back into Python. A model is
refused if an operation in it is not on the list of `serving.allowed_ops`, wherever it stands;
what the model says about itself allows nothing, it only tells what came in after the export.
TensorFlow is imported for its messages, and loads nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import InfrastructureError
from serving.allowed_ops import ALLOWED, ASSET_ONLY, SAVER_ONLY, denied_because
from serving.description import read_description
from serving.scan_files import (
    metadata_texts,
    python_in_metadata,
    unknown_files,
    unreadable_files,
)

#: A graph larger than this is refused unread: protobuf itself ends at 2 GB, and the message in
#: memory is several times its file.
MAX_GRAPH_BYTES = 512_000_000
#: Problems after which a scan ends: enough to refuse, and to see what kind of model it is.
MAX_PROBLEMS = 100


@dataclass(frozen=True)
class Problem:
    """One reason to refuse a model.

    Attributes:
        op: The operation, or the file where no operation is at fault.
        where: Where it stands: file, function, node.
        why: What is wrong with it, as the end of a sentence that begins with `op`.
    """

    op: str
    where: str
    why: str

    def __str__(self) -> str:
        """The problem in one line."""
        return f"{self.op} ({self.where}) {self.why}" if self.where else f"{self.op} {self.why}"


def scan(model: str | Path) -> list[Problem]:
    """Reads a model and says why it must not be loaded.

    Args:
        model: Folder of the SavedModel.

    Returns:
        One problem for each operation and place, at most `MAX_PROBLEMS`; empty if it is fine.
    """
    found: list[Problem] = []
    for problem in _problems(Path(model)):
        if problem not in found:
            found.append(problem)
        if len(found) == MAX_PROBLEMS:
            break
    return found


def _problems(folder: Path) -> Iterator[Problem]:
    unreadable = [Problem(name, "", why) for name, why in unreadable_files(folder)]
    if unreadable:
        # Nothing is opened then: a pipe would block, a link could lead to a device.
        yield from unreadable
        return
    recorded = None
    try:
        description = read_description(folder)
        recorded = frozenset(description.operations) if description is not None else None
    except InfrastructureError as error:
        yield Problem("assets/ordain.json", "", f"cannot be read: {error.message}")
    graphs = []
    for name in ("saved_model.pb", "saved_model.pbtxt"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            graphs.append((name, _read(path)))
        except (OSError, ValueError, RecursionError) as error:
            yield Problem(name, "", f"cannot be read: {str(error).partition(chr(10))[0]}")
    if not any((folder / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        yield Problem("saved_model.pb", "", "is missing")
    assets = {
        a.filename for _, saved in graphs for m in saved.meta_graphs for a in m.asset_file_def
    }
    for name, why in unknown_files(folder, assets):
        yield Problem(name, "", why)
    for name, saved in graphs:
        yield from _in_graphs(name, saved, folder, recorded)
    yield from _in_metadata(folder)


def _read(path: Path) -> Any:
    """A `SavedModel` message from a file.

    Raises:
        ValueError: The file is too large, or no such message.
        OSError: It cannot be read.
    """
    from google.protobuf import text_format  # noqa: PLC0415
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from tensorflow.core.protobuf import saved_model_pb2  # noqa: PLC0415

    if path.stat().st_size > MAX_GRAPH_BYTES:
        raise ValueError(f"larger than {MAX_GRAPH_BYTES} bytes")
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


def _in_graphs(
    file: str, saved: Any, folder: Path, recorded: frozenset[str] | None
) -> Iterator[Problem]:
    from serving.graphs import called_functions, nodes_of  # noqa: PLC0415
    from serving.scan_uses import KnownUses  # noqa: PLC0415

    registered = _registered()
    uses = [KnownUses(meta, folder) for meta in saved.meta_graphs]
    functions = [
        {f.signature.name for f in meta.graph_def.library.function} for meta in saved.meta_graphs
    ]
    for meta, names in zip(saved.meta_graphs, functions, strict=True):
        yield from _beside_nodes(file, meta, names & registered, folder)
    try:
        for located in nodes_of(saved):
            node, where = located.node, f"{file}, {located.where}"
            known = uses[located.meta]
            if node.op not in functions[located.meta] or node.op in registered:
                why = _why_refused(located, known, recorded, registered)
                if why:
                    yield Problem(node.op, where, why)
            if not located.nested:
                for name in called_functions(node.attr):
                    if name not in functions[located.meta]:
                        yield Problem(node.op, where, f"calls {name}, which the model lacks")
            if _is_elsewhere(node.device):
                yield Problem(node.op, where, f"is placed on another machine: {node.device}")
    except (ValueError, RecursionError) as error:
        yield Problem(file, "", f"cannot be scanned: {error}")


def _beside_nodes(
    file: str, meta: Any, misnamed: frozenset[str] | set[str], folder: Path
) -> Iterator[Problem]:
    """What is wrong with a meta graph beside its nodes: assets, names, inputs, Keras' notes."""
    from serving.scan_uses import is_asset, signature_inputs  # noqa: PLC0415

    for asset in meta.asset_file_def:
        if not is_asset(folder, asset.filename):
            yield Problem(asset.filename, file, "is named as an asset and is not in assets/")
    for name in sorted(misnamed):
        yield Problem(name, f"{file}, function", "has the name of an operation")
    placeholders = {n.name for n in meta.graph_def.node if n.op.startswith("Placeholder")}
    for tensor in signature_inputs(meta):
        # A request could otherwise replace any value inside, a file's name among them.
        if tensor.partition(":")[0] not in placeholders:
            yield Problem(tensor, f"{file}, signature", "is an input that is no placeholder")
    metadata = [node.user_object.metadata for node in meta.object_graph_def.nodes]
    if python_in_metadata(text for text in metadata if text):
        yield Problem("Lambda", f"{file}, object graph", "layer holds Python bytecode")


def _why_refused(
    located: Any, known: Any, recorded: frozenset[str] | None, registered: frozenset[str]
) -> str | None:
    """Why an operation is refused where it stands; None if it is not.

    Rules, first that applies:

    1. it saves or restores the model's own variables, or fills a table from the model's own
       asset: allowed;
    2. it is on the list of dangerous operations: refused, whatever was recorded;
    3. TensorFlow does not know it: refused as a custom operation;
    4. it is not on the list of allowed ones: refused;
    5. the model was exported without it: refused, somebody put it there since.
    """
    operation = located.node.op
    is_own_use = (
        operation in SAVER_ONLY and (known.is_saving(located) or known.is_restoring(located))
    ) or (operation in ASSET_ONLY and known.is_reading_asset(located))
    reason = denied_because(operation)
    if reason and not is_own_use:
        return reason
    if operation not in registered:
        return "is a custom operation: TensorFlow has none of that name"
    if operation not in ALLOWED and not is_own_use:
        return "is not among the operations that a model may hold"
    if recorded is not None and operation not in recorded:
        return "was not in the model when it was exported: the graph was changed since"
    return None


def _registered() -> frozenset[str]:
    """Every operation that TensorFlow itself has."""
    from tensorflow.core.framework import op_def_pb2  # noqa: PLC0415
    from tensorflow.python.client import pywrap_tf_session  # noqa: PLC0415

    buffer = pywrap_tf_session.TF_GetAllOpList()
    operations = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(buffer))
    return frozenset(operation.name for operation in operations.op)


def _is_elsewhere(device: str) -> bool:
    """Whether a device is one of another process."""
    parts = [part for part in device.split("/") if part.startswith("job:")]
    return any(part not in ("job:localhost",) for part in parts) or "grpc" in device


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
