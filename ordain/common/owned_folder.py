"""Folders of one process, which others remove after it was killed.

The process holds a lock on a file in the folder. The system releases it when the process ends in
any way, so the age of a folder does not count.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

#: Locked by the owner; it stays when the owner is killed.
_OWNER_FILE = "owner"


def make_owned_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    """Creates a folder of this process, with mode 0700.

    Returns:
        The folder, and the descriptor that holds its lock; the caller closes it.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    making = folder / f"{_OWNER_FILE}.new"
    owner = os.open(making, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(owner, fcntl.LOCK_EX)
    # Locked before it gets its name, so it is never visible unlocked.
    making.rename(folder / _OWNER_FILE)
    return folder, owner


def remove_abandoned(parent: Path, prefix: str, grace_s: float) -> None:
    """Removes this user's folders whose process has ended.

    Args:
        parent: The folder they are in.
        prefix: The start of their names.
        grace_s: Seconds that a folder without a lock file is kept, because it may be in the making.
    """
    for folder in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if is_own and _is_abandoned(folder, time.time() - found.st_mtime >= grace_s):
                shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path, is_old: bool) -> bool:
    try:
        owner = os.open(folder / _OWNER_FILE, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return is_old
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(owner)
    return True
