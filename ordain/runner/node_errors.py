"""Translates a node's exception into an `OrdainError`: ours in its chain, or one that names it."""

from __future__ import annotations

import errno
import signal
import subprocess
from collections.abc import Iterator

from ordain.errors import InfrastructureError, NodeFailedError, OrdainError

#: How the system, TensorFlow, C++ and a Beam worker say that there is no memory left.
_NO_MEMORY = (
    "Cannot allocate memory",
    "OOM when allocating tensor",
    "std::bad_alloc",
    "MemoryError",
)
#: What a child that the system killed for want of memory leaves: SIGKILL, or a shell's word for it.
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
#: How the system, SQLite and TensorFlow say that there is no room left.
_FULL_DISK = ("No space left on device", "Disk quota exceeded", "database or disk is full")


def as_known_error(error: BaseException) -> OrdainError:
    """The error of ours behind an exception, or one that names what a stranger raised."""
    for seen in _causes(error):
        if isinstance(seen, OrdainError):
            return seen
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            break
    text = str(error).strip().splitlines()
    brief = text[-1] if text else ""
    for cause in _causes(error):
        wanted = _want_of_memory(cause)
        if wanted:
            return InfrastructureError(
                wanted,
                "ordain plan says what a run needs; take a smaller data.window, stop what else "
                "runs here, or use a larger machine: finished nodes are cached",
            )
    if any(sign in str(error) for sign in _FULL_DISK):
        return InfrastructureError(
            f"the disk is full: {brief}", "free space and run again: finished nodes are cached"
        )
    if "database is locked" in str(error):
        return InfrastructureError(f"ML Metadata is locked by another process: {brief}")
    return NodeFailedError(f"{type(error).__name__}: {brief}"[:500])


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, what it was raised from, and so on."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _want_of_memory(error: BaseException) -> str:
    """Message for an exception about memory; empty for others."""
    is_killed = isinstance(error, subprocess.CalledProcessError) and error.returncode in _KILLED
    if is_killed:
        return f"a child process was killed, most likely for want of memory: {error}"[:500]
    is_refused = isinstance(error, OSError) and error.errno == errno.ENOMEM
    if (
        isinstance(error, MemoryError)
        or is_refused
        or any(sign in str(error) for sign in _NO_MEMORY)
    ):
        brief = str(error).strip().partition("\n")[0]
        return f"no memory was left: {type(error).__name__}: {brief}"[:500]
    return ""
