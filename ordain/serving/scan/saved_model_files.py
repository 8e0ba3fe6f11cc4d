"""Checks the files of a SavedModel: unknown files, code, and Python code in Keras metadata.

Reads bytes only; nothing is executed or loaded.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

#: Files that a version's folder may hold; assets are compared with those of the graph.
_PARTS = re.compile(
    r"saved_model\.pb|saved_model\.pbtxt|fingerprint\.pb|keras_metadata\.pb"
    r"|variables/variables\.(index|data-\d{5}-of-\d{5})"
    r"|assets\.extra/tf_serving_warmup_requests|assets\.extra/ordain/example\.json"
    r"|manifest\.json|manifest\.json\.sig|MODEL_CARD\.md"
)
#: Files that contain executable code, even if a graph names them as assets.
_CODE = re.compile(r".*\.(so(\.[0-9]+)*|dll|dylib|py|pyc|pyo|pyd|pkl|pickle|sh|exe|jar|keras|h5)")
#: First bytes of shared libraries and pickles. Not used for variables, which may begin with any.
_MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\x80\x04\x95")
#: Largest Keras metadata; larger files are refused unread.
MAX_METADATA_BYTES = 256_000_000
_MAX_DEPTH = 16
#: Wire types of protobuf.
_LENGTH_DELIMITED, _GROUP = 2, 3
#: An ASCII character in JSON, by its number.
_ESCAPE = re.compile(rb"\\u00([0-9a-fA-F]{2})")


def unreadable_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Finds files that must not be opened: links, pipes, devices.

    Args:
        folder: The model.

    Yields:
        The file's name relative to the folder, and why it is refused.
    """
    for parent, folders, files in os.walk(folder):
        for name in sorted(folders + files):
            path = Path(parent, name)
            if path.is_symlink():
                why = "is a link, which may lead out of the model's folder"
                yield path.relative_to(folder).as_posix(), why
            elif not path.is_dir() and not path.is_file():
                yield path.relative_to(folder).as_posix(), "is no plain file"


def unknown_files(folder: Path, assets: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Finds files that are not part of a SavedModel, in a folder without `unreadable_files`.

    Args:
        folder: The model.
        assets: Names below `assets/` that its graphs use.

    Yields:
        The file's name relative to the folder, and why it is refused.
    """
    known = {f"assets/{name}" for name in assets}
    for parent, folders, files in os.walk(folder):
        for name in sorted(folders + files):
            path = Path(parent, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_dir():
                continue
            if relative == "saved_model.cpb":
                yield relative, "is a SavedModel in pieces, which this scan does not read"
            elif _CODE.fullmatch(name.lower()) or (
                not relative.startswith("variables/") and _starts_like_code(path)
            ):
                yield relative, "is code, which no SavedModel needs"
            elif not _PARTS.fullmatch(relative) and relative not in known:
                yield relative, "is not part of a SavedModel"


def _starts_like_code(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8).startswith(_MAGIC)


def asset_files(meta: Any) -> list[Any]:
    """The `AssetFileDef`s of a meta graph, which TensorFlow 1 keeps in a collection.

    Raises:
        ValueError: The collection holds something else.
    """
    from tensorflow.core.protobuf import meta_graph_pb2  # noqa: PLC0415

    if meta.asset_file_def or "saved_model_assets" not in meta.collection_def:
        return list(meta.asset_file_def)
    found = []
    for value in meta.collection_def["saved_model_assets"].any_list.value:
        asset = meta_graph_pb2.AssetFileDef()
        if not value.Unpack(asset):
            raise ValueError(f"saved_model_assets holds a {value.type_url}")
        found.append(asset)
    return found


def is_asset(folder: Path, name: str) -> bool:
    """True if a name is a plain file in a model's `assets`, without links in its path."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        return False
    file = folder / "assets" / name
    return file.is_file() and not any(
        p.is_symlink() for p in (file, *file.parents) if p != folder and folder in p.parents
    )


def python_in_metadata(texts: Iterable[bytes | str]) -> bool:
    """True if Keras metadata contains a function as Python bytecode, as for a Lambda layer.

    Args:
        texts: JSON texts; texts that are not JSON are searched as they are.
    """
    for text in texts:
        try:
            found: Any = json.loads(text)
        except (ValueError, RecursionError):
            raw = text.encode() if isinstance(text, str) else text
            # Texts that are hidden in a message which is not read: JSON may write an L as \u004c.
            raw = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), raw)
            if b'"Lambda"' in raw or b"__lambda__" in raw:
                return True
            continue
        if _has_lambda(found):
            return True
    return False


def _has_lambda(value: Any) -> bool:
    """Walks JSON without recursion, because it may be nested at any depth."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            named = {
                found.get(key)
                for key in ("class_name", "function_type", "module")
                if isinstance(found.get(key), str)
            }
            if named & {"Lambda", "__lambda__", "lambda"}:
                return True
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found
    return False


def metadata_texts(path: Path) -> list[bytes]:
    """Extracts the JSON texts of `keras_metadata.pb`.

    The message type belongs to Keras, not to TensorFlow, so all fields are unknown ones: numbers,
    strings or nested messages.

    Raises:
        ValueError: The file is too large, or not a protobuf.
        OSError: It cannot be read.
    """
    if path.stat().st_size > MAX_METADATA_BYTES:
        raise ValueError(f"larger than {MAX_METADATA_BYTES} bytes")
    return list(_texts(path.read_bytes(), 0))


def _texts(data: bytes, depth: int) -> Iterator[bytes]:
    from google.protobuf.empty_pb2 import Empty  # noqa: PLC0415
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from google.protobuf.unknown_fields import UnknownFieldSet  # noqa: PLC0415

    try:
        fields: Any = UnknownFieldSet(Empty.FromString(data))
    except DecodeError as error:
        raise ValueError("not a protobuf") from error
    for field in fields:
        if field.wire_type == _GROUP:
            raise ValueError("not Keras metadata: it holds a group")
        if field.wire_type != _LENGTH_DELIMITED:
            continue
        content = bytes(field.data)
        if content[:1] in (b"{", b"["):
            yield content
            continue
        try:
            below = list(_texts(content, depth + 1)) if depth < _MAX_DEPTH and content else []
        except ValueError:
            below = []
        yield from below or [content]
