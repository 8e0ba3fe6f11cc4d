"""Private copies of versions, which only this process can change.

A serving directory may change between check and load. So a version is copied into a private folder
of this process (mode 0700, in the temporary folder), and checked and loaded there. Copies share
blocks with the original where the file system supports it, never inodes, because a hard link could
be written to. Copies of a killed process are removed by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from ordain.common.owned_folder import make_owned_folder, remove_abandoned
from ordain.common.process_exit import before_exit
from ordain.errors import InfrastructureError

PREFIX = "ordain-versions-"
#: Seconds after which a folder without a lock file belongs to a killed process.
_MAKING_S = 3600.0
#: A version has a few dozen files in a few levels.
MAX_FILES, MAX_DEPTH = 10_000, 32
#: Kept free on the disk of the copies.
_SPARE_BYTES = 100_000_000
_FICLONE = 0x40049409

_lock = threading.Lock()
_own: dict[int, tuple[Path, int]] = {}


@dataclass(frozen=True)
class PrivateCopy:
    """A copy of a version.

    Attributes:
        folder: Its folder, named like the version's.
    """

    folder: Path

    def remove(self) -> None:
        """Deletes it."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)


def copy_version(version: Path) -> PrivateCopy:
    """Copies a version's folder, which may hold plain files and folders only.

    Args:
        version: The version's folder.

    Raises:
        InfrastructureError: It contains something else or too much, or the disk is full.
    """
    if version.is_symlink():
        raise InfrastructureError(f"{version.name} is a link, not a folder")
    try:
        copy = PrivateCopy(Path(tempfile.mkdtemp(dir=_own_folder())) / version.name)
    except OSError as error:
        raise _no_room(error) from error
    try:
        _copy_tree(version, copy.folder)
    except OSError as error:
        copy.remove()
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise _no_room(error) from error
        name = error.filename or version
        raise InfrastructureError(f"{name} cannot be copied: {error.strerror}") from error
    except BaseException:
        copy.remove()
        raise
    return copy


def _copy_tree(source: Path, target: Path) -> None:
    budget = shutil.disk_usage(target.parent).free - _SPARE_BYTES
    count = 0
    # Each folder is read through its descriptor: replacing it by a link has no effect.
    for parent, folders, files, descriptor in os.fwalk(source, onerror=_raise):
        below = Path(parent).relative_to(source)
        count += len(folders) + len(files)
        if count > MAX_FILES or len(below.parts) > MAX_DEPTH:
            raise InfrastructureError(
                f"{source} contains more than {MAX_FILES} files, or more than {MAX_DEPTH} levels"
            )
        (target / below).mkdir(mode=0o700)
        for name in (*folders, *files):
            kind = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
            if not (stat.S_ISREG(kind) if name in files else stat.S_ISDIR(kind)):
                raise InfrastructureError(f"{(below / name).as_posix()} is not a plain file")
        for name in files:
            budget -= _copy_file(name, descriptor, target / below / name, budget)


def _copy_file(name: str, folder: int, target: Path, budget: int) -> int:
    """Copies a file by its name in an open folder; returns its size in bytes."""
    with contextlib.ExitStack() as stack:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        read = os.open(name, flags, dir_fd=folder)
        stack.callback(os.close, read)
        found = os.fstat(read)
        if not stat.S_ISREG(found.st_mode):
            raise InfrastructureError(f"{name} is not a plain file")
        if found.st_size > budget:
            raise _no_room(OSError(errno.ENOSPC, f"{found.st_size} bytes more are needed"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        written = os.open(target, flags, 0o600)
        stack.callback(os.close, written)
        with contextlib.suppress(OSError):  # another file system, or one that cannot
            fcntl.ioctl(written, _FICLONE, read)
            return found.st_size
        done = 0
        # Up to its size at the start: a file that grows meanwhile is not the published one.
        while done < found.st_size:
            sent = os.sendfile(written, read, done, found.st_size - done)
            if sent == 0:
                break
            done += sent
        return found.st_size


def _own_folder() -> Path:
    """The folder of this process's copies; the first call creates it and cleans up."""
    with _lock:
        if os.getpid() not in _own:
            temporary = Path(tempfile.gettempdir())
            remove_abandoned(temporary, PREFIX, _MAKING_S)
            _own[os.getpid()] = make_owned_folder(temporary, PREFIX)
            before_exit(remove_copies)
        return _own[os.getpid()][0]


def remove_copies() -> None:
    """Removes this process's copies; models loaded from them may miss their assets."""
    with _lock:
        folder, owner = _own.pop(os.getpid(), (None, -1))
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(owner)


def _no_room(error: OSError) -> InfrastructureError:
    return InfrastructureError(
        f"cannot copy a version into {tempfile.gettempdir()}, where it is checked and loaded: "
        f"{error.strerror}",
        "free space there, or set the environment variable TMPDIR to another folder",
    )


def _raise(error: OSError) -> None:
    raise error
