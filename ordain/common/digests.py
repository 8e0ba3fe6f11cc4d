"""SHA-256 and size of one file, or of all files below a folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class FileDigest:
    """Digest of one file.

    Attributes:
        path: Path relative to the digested folder, with `/`.
        sha256: SHA-256 of the content, 64 lower-case hexadecimal digits.
        size_bytes: Size of the content.
    """

    #: For readers of JSON files.
    __pydantic_config__: ClassVar = {"extra": "forbid"}

    path: str
    sha256: str
    size_bytes: int


def digest_file(path: Path, name: str) -> FileDigest:
    """Digests a file under a given name."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return FileDigest(name, digest.hexdigest(), size)


def digest_tree(folder: Path) -> list[FileDigest]:
    """Digests all plain files below a folder, sorted by relative path."""
    return [digest_file(path, name) for name, path in walk(folder) if path.is_file()]


def walk(folder: Path) -> list[tuple[str, Path]]:
    """Lists everything below a folder but folders, as relative and full path; links are listed."""
    entries = []
    for parent, folders, files in os.walk(folder, onerror=_raise):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in (*files, *links):
            path = Path(parent, name)
            entries.append((path.relative_to(folder).as_posix(), path))
    return sorted(entries)


def size_of(folder: Path) -> int:
    """Size of all plain files below a folder, in bytes; 0 if there is no such folder."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):  # a file that disappears meanwhile
                found = os.lstat(os.path.join(parent, name))  # noqa: PTH118  twice as fast
                total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


def _raise(error: OSError) -> None:
    raise error
