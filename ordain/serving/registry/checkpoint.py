"""Validates a SavedModel's checkpoint without TensorFlow's reader.

The index is a table in LevelDB's format: blocks of entries, then a footer of 48 bytes that ends
with a magic number. Its first entry, with the empty key, holds the number of data files.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

INDEX_FILE = "variables/variables.index"
_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
#: TensorFlow starts a new block after 256 KB; only an oversized single entry is larger.
_MAX_BLOCK_BYTES = 64_000_000


def checkpoint_fault(model: Path) -> tuple[str, str] | None:
    """Checks a model's checkpoint, as far as its index and file names allow.

    Args:
        model: Folder of the SavedModel, without links.

    Returns:
        A file, and what is wrong with it; None if nothing is wrong, or if there is no index.

    Raises:
        OSError: The index cannot be read.
    """
    path = model / INDEX_FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            count = _count_shards(file)
    except ValueError as error:
        return INDEX_FILE, f"is not a checkpoint index: {error}"
    if count is None:
        return None
    present = {file.name for file in path.parent.glob("variables.data-*")}
    # Bounded by the files present, because the index may claim any number.
    for shard in range(min(count, len(present) + 1)):
        name = f"variables.data-{shard:05d}-of-{count:05d}"
        if name not in present:
            return f"variables/{name}", "is missing"
    return None


def _count_shards(file: BinaryIO) -> int | None:
    """The number of data files; None if the table is compressed, which TensorFlow's are not.

    Raises:
        ValueError: The file is not such a table.
    """
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from tensorflow.core.protobuf import tensor_bundle_pb2  # noqa: PLC0415

    size = file.seek(0, 2)
    if size < _FOOTER_BYTES:
        raise ValueError(f"it has {size} bytes, the footer alone has {_FOOTER_BYTES}")
    file.seek(size - _FOOTER_BYTES)
    footer = file.read(_FOOTER_BYTES)
    if not footer.endswith(_MAGIC):
        raise ValueError("it does not end with a table's magic number")
    _, position = _handle(footer, 0)  # the meta index, skipped
    index = _block(file, _handle(footer, position)[0], size)
    if index is None:
        return None
    first = _block(file, _handle(_first_entry(index)[1], 0)[0], size)
    if first is None:
        return None
    key, value = _first_entry(first)
    if key:
        raise ValueError("its first entry is not the header")
    try:
        header = tensor_bundle_pb2.BundleHeaderProto.FromString(value)
    except DecodeError as error:
        raise ValueError("its header cannot be read") from error
    if header.num_shards < 0:
        raise ValueError(f"its header names {header.num_shards} data files")
    return int(header.num_shards)


def _block(file: BinaryIO, handle: tuple[int, int], file_size: int) -> bytes | None:
    """A block's content; None if it is compressed."""
    offset, size = handle
    if size > _MAX_BLOCK_BYTES or offset + size + 1 > file_size:
        raise ValueError("it refers to a block outside of the file")
    file.seek(offset)
    data = file.read(size + 1)
    return data[:-1] if data[-1:] == b"\0" else None


def _first_entry(block: bytes) -> tuple[bytes, bytes]:
    """Key and value of a block's first entry."""
    shared, position = _varint(block, 0)
    own, position = _varint(block, position)
    length, position = _varint(block, position)
    end = position + own
    if shared or end + length > len(block):
        raise ValueError("a block of it is damaged")
    return block[position:end], block[end : end + length]


def _handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and the position after them."""
    offset, position = _varint(data, position)
    size, position = _varint(data, position)
    return (offset, size), position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
    raise ValueError("a block of it is damaged")
