"""What a node's error means: one of ours, however deep, or one that names a stranger's."""

from __future__ import annotations

import errno

from contracts.errors import InfrastructureError, NodeFailedError, OrdainError

#: How the system, SQLite and TensorFlow say that there is no room left.
_FULL_DISK = ("No space left on device", "Disk quota exceeded", "database or disk is full")


def as_known_error(error: BaseException) -> OrdainError:
    """The error of ours behind an exception, or one that names what a stranger raised."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OrdainError):
            return seen
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            break
        seen = seen.__cause__ or seen.__context__
    text = str(error).strip().splitlines()
    brief = text[-1] if text else ""
    if any(sign in str(error) for sign in _FULL_DISK):
        return InfrastructureError(
            f"the disk is full: {brief}", "free space and run again: finished nodes are cached"
        )
    if "database is locked" in str(error):
        return InfrastructureError(f"ML Metadata is locked by another process: {brief}")
    return NodeFailedError(f"{type(error).__name__}: {brief}"[:500])
