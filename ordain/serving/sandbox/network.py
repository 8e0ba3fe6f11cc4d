"""Moves the process into a network namespace that has only loopback."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def isolate_network() -> bool:
    """Moves this process and its children into a network namespace with only a loopback.

    Must be called before a second thread exists. Works as root, and for other users if the system
    lets them create namespaces (man 7 user_namespaces).

    Returns:
        Whether it worked; if not, nothing has changed.
    """
    user, group = os.getuid(), os.getgid()
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if library.unshare(_CLONE_NEWNET) != 0:
            if library.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
                return False
            _map_to_self(user, group)
    except (AttributeError, OSError):
        return False
    _raise_loopback()
    return True


def _map_to_self(user: int, group: int) -> None:
    """Keeps the same user inside a user namespace."""
    # If the system forbids it, the process runs as nobody, which is fine for a trial.
    with contextlib.suppress(OSError):
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _raise_loopback() -> None:
    """Brings the loopback up, like `ip link set lo up`, which may not be installed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
