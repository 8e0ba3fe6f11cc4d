"""Translates a node's exception into an `OrdainError`."""

from __future__ import annotations

import errno
import signal
import subprocess
from collections.abc import Iterator

from ordain.errors import InfrastructureError, NodeFailedError, OrdainError

#: Messages of the system, TensorFlow, C++ and a Beam worker if memory runs out.
_NO_MEMORY = (
    "Cannot allocate memory",
    "OOM when allocating tensor",
    "std::bad_alloc",
    "MemoryError",
)
#: Exit codes of a child that the system killed, directly or below a shell.
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
#: Messages of the system, SQLite and TensorFlow if the disk is full.
_FULL_DISK = ("No space left on device", "Disk quota exceeded", "database or disk is full")


def as_known_error(error: BaseException) -> OrdainError:
    """Returns the `OrdainError` among an exception's causes, or makes one from its message."""
    for seen in _causes(error):
        if isinstance(seen, OrdainError):
            return seen
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            break
    text = str(error).strip().splitlines()
    brief = text[-1] if text else ""
    for cause in _causes(error):
        no_memory = _memory_message(cause)
        if no_memory:
            return InfrastructureError(
                no_memory,
                "ordain plan estimates what a run needs; use a smaller data.window, stop other "
                "processes, or use a larger machine: finished nodes are cached",
            )
    if any(sign in str(error) for sign in _FULL_DISK):
        return InfrastructureError(
            f"the disk is full: {brief}", "free space and run again: finished nodes are cached"
        )
    if "database is locked" in str(error):
        return InfrastructureError(f"ML Metadata is locked by another process: {brief}")
    return NodeFailedError(f"{type(error).__name__}: {brief}"[:500])


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an exception, its cause, and so on."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _memory_message(error: BaseException) -> str:
    """Message for an exception about memory; empty for others."""
    is_killed = isinstance(error, subprocess.CalledProcessError) and error.returncode in _KILLED
    if is_killed:
        return f"a child process was killed, probably because memory ran out: {error}"[:500]
    is_refused = isinstance(error, OSError) and error.errno == errno.ENOMEM
    if (
        isinstance(error, MemoryError)
        or is_refused
        or any(sign in str(error) for sign in _NO_MEMORY)
    ):
        brief = str(error).strip().partition("\n")[0]
        return f"out of memory: {type(error).__name__}: {brief}"[:500]
    return ""
