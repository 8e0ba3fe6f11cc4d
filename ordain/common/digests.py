"""Digests of files: SHA-256 and size, of one file or of all below a folder."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class FileDigest:
    """One file of a version.

    Attributes:
        path: Relative to the version's folder, with `/`.
        sha256: SHA-256 of the content, 64 lower-case hexadecimal digits.
        size_bytes: Size of the content.
    """

    path: str
    sha256: str
    size_bytes: int


def digest_file(path: Path, name: str) -> FileDigest:
    """SHA-256 and size of a file, under a name of the caller's."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return FileDigest(name, digest.hexdigest(), size)


def digest_tree(folder: Path) -> list[FileDigest]:
    """The digests of all plain files below a folder, by their relative names."""
    return [digest_file(path, name) for name, path in walk(folder) if path.is_file()]


def walk(folder: Path) -> list[tuple[str, Path]]:
    """Everything below a folder that is no folder itself, by its relative name."""
    entries = []
    for parent, folders, files in os.walk(folder, onerror=_raise):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in (*files, *links):
            path = Path(parent, name)
            entries.append((path.relative_to(folder).as_posix(), path))
    return sorted(entries)


def _raise(error: OSError) -> None:
    raise error
