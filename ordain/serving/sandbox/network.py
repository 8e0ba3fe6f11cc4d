"""Leaves the network: a namespace of its own for this process, with a loopback and no more."""

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


def leave_network() -> bool:
    """Takes this process, and what it starts, off every network but a loopback of its own.

    Has to come before the first thread. Works as root, and for others where the system lets
    them make namespaces (man 7 user_namespaces).

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
    """Stays the same user inside a namespace of users."""
    # Where the system forbids it the process is nobody there, which is as good for a trial.
    with contextlib.suppress(OSError):
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _raise_loopback() -> None:
    """Brings the loopback up, as `ip link set lo up` does; there may be no `ip`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
