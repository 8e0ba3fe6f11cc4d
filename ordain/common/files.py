"""File operations by path: the interface that local disks and object stores share."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """File operations by path, local or in an object store."""

    def names(self, folder: str) -> list[str]:
        """Lists the names in a folder, sorted; none if the folder does not exist."""

    def make_folder(self, path: str) -> None:
        """Makes a folder and its parents, if they do not exist."""

    def remove(self, path: str) -> None:
        """Removes a file, or a folder with its content; it need not exist."""

    def move(self, source: str, target: str) -> None:
        """Renames a file, and replaces an existing target.

        Raises:
            FileNotFoundError: The source does not exist.
        """

    def size(self, path: str) -> int | None:
        """Returns a file's size in bytes; None if it does not exist."""

    def read(self, path: str) -> bytes:
        """Reads a file."""

    def write(self, path: str, content: bytes) -> None:
        """Writes a file; its folder has to exist."""


class LocalFiles:
    """`Files` on local disks."""

    def names(self, folder: str) -> list[str]:
        """See `Files.names`."""
        path = Path(folder)
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []

    def make_folder(self, path: str) -> None:
        """See `Files.make_folder`."""
        Path(path).mkdir(parents=True, exist_ok=True)

    def remove(self, path: str) -> None:
        """See `Files.remove`."""
        entry = Path(path)
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)

    def move(self, source: str, target: str) -> None:
        """See `Files.move`."""
        Path(source).replace(target)

    def size(self, path: str) -> int | None:
        """See `Files.size`."""
        entry = Path(path)
        return entry.stat().st_size if entry.is_file() else None

    def read(self, path: str) -> bytes:
        """See `Files.read`."""
        return Path(path).read_bytes()

    def write(self, path: str, content: bytes) -> None:
        """See `Files.write`."""
        Path(path).write_bytes(content)
