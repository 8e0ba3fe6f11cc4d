"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from contracts.errors import InfrastructureError

#: A push that copies gigabytes holds no lock while it does; what does is done in seconds.
LOCK_TIMEOUT_S = 60.0


def write_whole(path: Path, text: str) -> None:
    """Replaces a small file by one rename; the caller sees to it that it is the only writer."""
    staged = path.with_name(f".{path.name}.staged")
    with staged.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Has a file or a folder written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Has a folder and everything in it written to the disk."""
    for parent, _, files in os.walk(folder):
        for name in files:
            sync(Path(parent, name))
        sync(Path(parent))


@contextlib.contextmanager
def locked(path: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Holds a lock that the system releases when the process ends, however it ends.

    Raises:
        InfrastructureError: Somebody else held it for the whole time, or it cannot be made.
    """
    import filelock  # noqa: PLC0415  a third of the time that `ordain models list` takes

    lock = filelock.FileLock(path, timeout=timeout_s)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise InfrastructureError(
            f"{path} has been held by another process for {timeout_s:g} s",
            "find it with `fuser`, wait or stop it, then try again",
        ) from error
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be locked: {error.strerror}", "correct permissions of the folder"
        ) from error
    try:
        yield
    finally:
        lock.release()
