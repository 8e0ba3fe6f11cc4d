"""Copies of versions that nobody but this process can change.

What is checked has to be what is loaded, and a serving directory may change in between. So a
version is copied into a folder of this process (mode 0700, in the folder for temporary files),
and checked and loaded there. Copies share their blocks with the original where the file system
can (never their inodes: a hard link could be written to). What a killed process left is removed
by the next one.
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
import time
from dataclasses import dataclass
from pathlib import Path

from ordain.common.process_exit import before_exit
from ordain.errors import InfrastructureError

PREFIX = "ordain-versions-"
#: Locked as long as the process lives that the folder belongs to.
_OWNER_FILE = "owner"
#: A folder without owner is one that is being made, or one whose maker was killed at once.
_MAKING_S = 3600.0
#: A version has some dozen files, a few levels deep; what has more is none.
MAX_FILES, MAX_DEPTH = 10_000, 32
#: Left free on the disk that the copies are on.
_SPARE_BYTES = 100_000_000
_FICLONE = 0x40049409

_lock = threading.Lock()
_own: dict[int, tuple[Path, int]] = {}


@dataclass(frozen=True)
class PrivateCopy:
    """A copy.

    Attributes:
        folder: Its folder, named as the version's.
    """

    folder: Path

    def remove(self) -> None:
        """Deletes it."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)


def copy_version(version: Path) -> PrivateCopy:
    """Copies a version's folder: plain files and folders, and nothing else.

    Args:
        version: The version's folder.

    Raises:
        InfrastructureError: It holds something else, or too much, or there is no room for it.
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
    # Every folder is opened once and read by its descriptor: one that is swapped for a link
    # meanwhile is not followed.
    for parent, folders, files, descriptor in os.fwalk(source, onerror=_raise):
        below = Path(parent).relative_to(source)
        count += len(folders) + len(files)
        if count > MAX_FILES or len(below.parts) > MAX_DEPTH:
            raise InfrastructureError(
                f"{source} holds more than {MAX_FILES} files, or more than {MAX_DEPTH} levels"
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
        # As much as it had: one that grows meanwhile is not the one that was published.
        while done < found.st_size:
            sent = os.sendfile(written, read, done, found.st_size - done)
            if sent == 0:
                break
            done += sent
        return found.st_size


def _own_folder() -> Path:
    """The folder of this process' copies; made, and those of dead processes removed, at first."""
    with _lock:
        if os.getpid() not in _own:
            _sweep(Path(tempfile.gettempdir()))
            folder = Path(tempfile.mkdtemp(prefix=PREFIX))
            making = folder / f"{_OWNER_FILE}.new"
            owner = os.open(making, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(owner, fcntl.LOCK_EX)
            # Locked before it has its name: whoever sees it sees it locked.
            making.rename(folder / _OWNER_FILE)
            _own[os.getpid()] = folder, owner
            before_exit(remove_copies)
        return _own[os.getpid()][0]


def remove_copies() -> None:
    """Removes this process' copies; what was loaded from them may not find its assets any more."""
    with _lock:
        folder, owner = _own.pop(os.getpid(), (None, -1))
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(owner)


def _sweep(parent: Path) -> None:
    """Removes what processes of this user left that are no more."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                continue
            if _is_left(folder, found.st_mtime):
                shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path, made: float) -> bool:
    try:
        owner = os.open(folder / _OWNER_FILE, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - made > _MAKING_S
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(owner)
    return True


def _no_room(error: OSError) -> InfrastructureError:
    return InfrastructureError(
        f"a version is copied into {tempfile.gettempdir()} to be checked and loaded there, and "
        f"cannot be: {error.strerror}",
        "make room there, or name another folder in the environment variable TMPDIR",
    )


def _raise(error: OSError) -> None:
    raise error
