"""Atomic writes, locks, and safe reads from folders that others may write to."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ordain.errors import InfrastructureError

#: Holders of a lock finish in seconds: a push copies its gigabytes without one.
LOCK_TIMEOUT_S = 60.0


def read_plain(folder: Path, name: str, max_bytes: int) -> bytes:
    """Reads a plain file in a folder that others may write to.

    Nothing else is opened: a pipe would block, and a link or a device leads elsewhere.

    Args:
        folder: The folder; it may itself be a link.
        name: The file's path in it, with `/`.
        max_bytes: Largest size that is read.

    Raises:
        FileNotFoundError: There is no such file.
        InfrastructureError: It is not a plain file, too large, or cannot be read.
    """
    path = folder / name
    try:
        with contextlib.ExitStack() as stack:
            here = _opened(stack, os.fspath(folder), None, os.O_DIRECTORY)
            *parents, last = name.split("/")
            for parent in parents:
                here = _opened(stack, parent, here, os.O_DIRECTORY | os.O_NOFOLLOW)
            kind = os.stat(last, dir_fd=here, follow_symlinks=False).st_mode
            if not stat.S_ISREG(kind):
                raise InfrastructureError(f"{path} is {_kind(kind)}, not a plain file")
            file = _opened(stack, last, here, os.O_NOFOLLOW | os.O_NONBLOCK)
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise InfrastructureError(f"{path} is {_kind(found.st_mode)}, not a plain file")
            if found.st_size > max_bytes:
                raise InfrastructureError(f"{path} is larger than {max_bytes} bytes")
            with open(file, "rb", closefd=False) as stream:
                content = stream.read(max_bytes + 1)
            if len(content) > max_bytes:
                raise InfrastructureError(f"{path} is larger than {max_bytes} bytes")
            return content
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise InfrastructureError(f"{path} is a link or below one, not a plain file") from error
        raise InfrastructureError(f"{path} cannot be read: {error.strerror}") from error


def _opened(stack: contextlib.ExitStack, name: str, folder: int | None, flags: int) -> int:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=folder)
    stack.callback(os.close, descriptor)
    return descriptor


def _kind(mode: int) -> str:
    names = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe"}
    return names.get(stat.S_IFMT(mode), "a device or socket")


def write_atomic(path: Path, text: str, writer: str = "staged") -> None:
    """Replaces a small file by one rename.

    Args:
        path: The file.
        text: Its content.
        writer: Who writes; no two at a time may have the same name.
    """
    staged = path.with_name(f".{path.name}.{writer}")
    # A new file, never one that others put there: a link would lead elsewhere.
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  a descriptor
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_file(path: Path, text: str, writer: str = "staged") -> None:
    """Writes a small file atomically, and makes its folder.

    Args:
        path: The file.
        text: Its content.
        writer: Who writes; no two at a time may have the same name.

    Raises:
        InfrastructureError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text, writer)
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be written: {error}", "free space or correct permissions"
        ) from error


def sync(path: Path) -> None:
    """Flushes a file or a folder entry to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flushes a folder and everything below it to the disk."""
    for parent, _, files in os.walk(folder):
        for name in files:
            sync(Path(parent, name))
        sync(Path(parent))


@contextlib.contextmanager
def locked(path: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Holds a file lock, which the system releases when the process ends in any way.

    Raises:
        InfrastructureError: Another process held it all the time, or it cannot be made.
    """
    import filelock  # noqa: PLC0415  a third of the time that `ordain models list` takes

    lock = filelock.FileLock(path, timeout=timeout_s)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise InfrastructureError(
            f"{path}: another process has held the lock for {timeout_s:g} s",
            "find it with `fuser`; wait for it or stop it, then run again",
        ) from error
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be locked: {error.strerror}", "correct permissions of the folder"
        ) from error
    try:
        yield
    finally:
        lock.release()
