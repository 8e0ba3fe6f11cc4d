"""How much memory this machine, or the container it is seen from, has and has left."""

from __future__ import annotations

import ctypes
import gc
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
#: Limit, use, and the statistics that hold what can be given back: cgroup v2, then v1.
_FORMS = (
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
        total_bytes: What there is: the machine's, or the container's limit if that is lower.
        available_bytes: What can be had without swapping.
    """

    total_bytes: int
    available_bytes: int


def read_memory(cgroup: Path = _CGROUP) -> Memory:
    """The memory there is now.

    Args:
        cgroup: Where the limits of this process's container are mounted.
    """
    machine = psutil.virtual_memory()
    total, available = machine.total, machine.available
    for names in _FORMS:
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
    """Something to share that holds nothing."""


def give_back() -> None:
    """Gives the system back what this process does not use any more.

    The graphs of a training are cycles of objects, Beam keeps the model that was shared last, and
    Arrow and the C library keep what was freed: two hundred megabytes that the next node, or its
    server, would stand on top of.
    """
    shared = sys.modules.get("apache_beam.utils.shared")
    if shared is not None:
        shared.Shared().acquire(_Nothing)  # what was shared before it is let go
    gc.collect()
    arrow = sys.modules.get("pyarrow")
    if arrow is not None:
        arrow.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc, not of every C library
    if trim is not None:
        trim(0)


def _reclaimable(statistics: Path, key: str) -> int:
    """Cached file content, which counts as used and is given back when it is needed."""
    try:
        lines = statistics.read_text().splitlines()
    except OSError:
        return 0
    found = [line.split()[1] for line in lines if line.split()[:1] == [key]]
    return int(found[0]) if found else 0
