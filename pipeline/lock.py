"""One run at a time in a workspace; a crashed run leaves no stale lock.

The operating system holds the lock (`flock` through filelock) and releases it when the process
ends, however it ends. Beside it stands a line that says who has it, for the one who waits.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from contracts.errors import InfrastructureError


@contextlib.contextmanager
def workspace_lock(
    workspace: Path, run_id: str, wait: bool, on_wait: Callable[[str], None]
) -> Iterator[None]:
    """Holds the workspace for one run.

    Args:
        workspace: The workspace; made if need be.
        run_id: The run that wants it.
        wait: Whether to wait for another run to end; otherwise it is refused.
        on_wait: Called with the holder's description before waiting.

    Raises:
        InfrastructureError: Another run holds it and `wait` is False, or the workspace cannot
            be written.
    """
    try:
        workspace.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InfrastructureError(f"workspace {workspace} cannot be made: {error}") from error
    lock = filelock.FileLock(workspace / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        holder = _holder(workspace)
        if not wait:
            raise InfrastructureError(
                f"workspace {workspace} is in use by {holder}",
                "wait for it (ordain run --wait), or use another workspace (--set workspace=...)",
            ) from error
        on_wait(holder)
        lock.acquire()
    except OSError as error:
        raise InfrastructureError(f"workspace {workspace} cannot be locked: {error}") from error
    try:
        about = {"run_id": run_id, "pid": os.getpid()}
        try:
            (workspace / ".lock.json").write_text(json.dumps(about), encoding="utf-8")
        except OSError as error:
            raise InfrastructureError(
                f"workspace {workspace} cannot be written: {error}"
            ) from error
        yield
    finally:
        lock.release()


def _holder(workspace: Path) -> str:
    try:
        about = json.loads((workspace / ".lock.json").read_text(encoding="utf-8"))
        return f"run {about['run_id']} (process {about['pid']})"
    except (OSError, ValueError, KeyError):
        return "another run"
