"""Restricts this process and its children to given files, with Landlock (man 7 landlock).

Landlock needs no privileges, applies to root too, and cannot be undone. Open files stay open.
Names, sizes and times of other files can still be read; their content, and listings of other
folders, cannot.
"""

from __future__ import annotations

import ctypes
import mimetypes
import os
import platform
import stat
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION, _PATH_BENEATH = 1, 1
_NO_NEW_PRIVILEGES = 38
#: Bits of the rights: write a file, read a file, list a folder; bit 0 is execute.
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
#: Rights that a rule on a file, not a folder, may have.
_OF_FILES = 1 | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15
#: Rights by version of the interface: the third added truncation, the fifth ioctl on devices.
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}

#: System files that a program needs: libraries, the time zone, the processors, its own process, and
#: the loopback's name.
_SYSTEM = (
    *("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/nix/store"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf"),
    # Python and OpenSSL open these if they exist.
    *("/usr/share/zoneinfo", "/etc/ssl/openssl.cnf", *mimetypes.knownfiles),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm", "/sys"),
    # A GPU's driver and libraries.
    *("/proc/driver/nvidia", "/usr/local/cuda"),
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def restrict_files(read: Iterable[Path], write: Iterable[Path]) -> bool:
    """Restricts this process to given files, for good.

    Must be called before a second thread exists. Python's own installation stays readable; programs
    cannot be started any more.

    Args:
        read: Files and folders that can be read, with everything below them.
        write: Files and folders that can also be written, created and removed.

    Returns:
        Whether it worked; if not, nothing has changed: for example, the kernel lacks Landlock, or
        there are threads already.
    """
    if platform.system() != "Linux" or len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208
        return False
    library = ctypes.CDLL(None, use_errno=True)
    version = library.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _GET_VERSION)
    if version < 1:
        return False
    handled = _RIGHTS[max(known for known in _RIGHTS if known <= version)]
    attributes = struct.pack("Q", handled)
    rules = library.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return False
    try:
        readable = [*map(Path, _SYSTEM), *_python(), *read]
        for path in readable:
            _allow(library, rules, path, _READ_FILE | _READ_DIR)
        for path in write:
            # All rights except execution.
            _allow(library, rules, path, handled & ~1)
        for path in (*map(Path, _DEVICES), *Path("/dev").glob("nvidia*")):
            _allow(library, rules, path, handled & (_READ_FILE | _WRITE_FILE | 1 << 15))
        if library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
            return False
        return bool(library.syscall(_RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def _allow(library: ctypes.CDLL, rules: int, path: Path, rights: int) -> None:
    """Adds a rule; paths that do not exist are ignored."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _OF_FILES
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, descriptor))
        library.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


def _python() -> list[Path]:
    """Python's library and its package folders; never a folder of the user."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    parts = [Path(prefix, part) for prefix in prefixes for part in ("lib", "lib64", "pyvenv.cfg")]
    packages = [Path(e) for e in sys.path if Path(e).name in ("site-packages", "dist-packages")]
    return parts + packages
