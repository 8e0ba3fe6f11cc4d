"""`ordain.common.files.Files` on TFX's fileio: local paths and every store that TFX supports."""

from __future__ import annotations

import tensorflow as tf
from tfx.dsl.io import fileio, filesystem


class FileioFiles:
    """Files by path or URI."""

    def names(self, folder: str) -> list[str]:
        """See `Files.names`."""
        if not fileio.isdir(folder):
            return []
        # Object stores mark folders with a slash.
        return sorted(str(name).rstrip("/") for name in fileio.listdir(folder))

    def make_folder(self, path: str) -> None:
        """See `Files.make_folder`."""
        fileio.makedirs(path)

    def remove(self, path: str) -> None:
        """See `Files.remove`."""
        try:
            if fileio.isdir(path):
                fileio.rmtree(path)
            elif fileio.exists(path):
                fileio.remove(path)
        except (filesystem.NotFoundError, FileNotFoundError):
            pass
        except tf.errors.OpError as error:
            raise OSError(f"{path}: cannot be removed: {error}") from error

    def move(self, source: str, target: str) -> None:
        """See `Files.move`."""
        try:
            fileio.rename(source, target, overwrite=True)
        except filesystem.NotFoundError as error:
            raise FileNotFoundError(source) from error

    def size(self, path: str) -> int | None:
        """See `Files.size`."""
        if not fileio.exists(path) or fileio.isdir(path):
            return None
        found = fileio.stat(path)
        # TensorFlow's result, or Python's.
        return int(found.length if hasattr(found, "length") else found.st_size)

    def read(self, path: str) -> bytes:
        """See `Files.read`."""
        with fileio.open(path, "rb") as file:
            return bytes(file.read())

    def write(self, path: str, content: bytes) -> None:
        """See `Files.write`."""
        with fileio.open(path, "wb") as file:
            file.write(content)
