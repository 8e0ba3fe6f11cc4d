"""Memory of the machine or the container, and its release between nodes."""

from __future__ import annotations

import ctypes
import gc
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
#: Files of limit, use and statistics, and the key of the reclaimable cache: cgroup v2, then v1.
_CGROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


@dataclass(frozen=True)
class Memory:
    """Memory in bytes.

    Attributes:
        total_bytes: Memory of the machine, or the container's limit if that is lower.
        available_bytes: Memory that can be allocated without swapping.
    """

    total_bytes: int
    available_bytes: int


def read_memory(cgroup: Path = _CGROUP) -> Memory:
    """Reads the current memory.

    Args:
        cgroup: Folder of the container's control group.
    """
    machine = psutil.virtual_memory()
    total, available = machine.total, machine.available
    for names in _CGROUP_FILES:
        try:
            limit, used = (int((cgroup / name).read_text()) for name in names[:2])
        except (OSError, ValueError):  # no such file, or `max`: no limit
            continue
        if limit < total:
            total = limit
            left = limit - used + _reclaimable(cgroup / names[2], names[3])
            available = max(0, min(available, left))
    return Memory(total, available)


class _Nothing:
    """An empty object to share."""


def release_memory() -> None:
    """Returns unused memory of this process to the system.

    Graphs of a training are cycles of objects, Beam keeps the model that was shared last, and Arrow
    and the C library keep freed memory: 200 MB beside those of the next node or its server.
    """
    shared = sys.modules.get("apache_beam.utils.shared")
    if shared is not None:
        shared.Shared().acquire(_Nothing)  # releases what was shared before
    gc.collect()
    arrow = sys.modules.get("pyarrow")
    if arrow is not None:
        arrow.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)


def _reclaimable(statistics: Path, key: str) -> int:
    """Bytes of cached file content, which count as used and are freed on demand."""
    try:
        lines = statistics.read_text().splitlines()
    except OSError:
        return 0
    found = [line.split()[1] for line in lines if line.split()[:1] == [key]]
    return int(found[0]) if found else 0
