"""Leaves the files: this process, and what it starts, opens nothing but what it is given.

By Landlock (man 7 landlock), which needs no rights, holds for root too, and cannot be taken back.
What is open already stays open. Names, sizes and times of other files can still be asked for; their
content, and the lists of other folders, cannot.
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
#: Rights by their bit: run, write, read a file, list a folder.
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
#: What a rule on a file, and not on a folder, may hold.
_OF_FILES = 1 | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15
#: Rights that each version of the interface knows: truncating came with the third, ioctl on
#: devices with the fifth.
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}

#: What a program needs of the system beside itself: libraries, the time zone, the processors, its
#: own process, and the loopback's name.
_SYSTEM = (
    *("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/nix/store"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf"),
    # Python and OpenSSL look whether these are there, and then expect to open them.
    *("/usr/share/zoneinfo", "/etc/ssl/openssl.cnf", *mimetypes.knownfiles),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm", "/sys"),
    # A GPU's driver and libraries.
    *("/proc/driver/nvidia", "/usr/local/cuda"),
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def leave_files(read: Iterable[Path], write: Iterable[Path]) -> bool:
    """Takes this process off every file but some, for good.

    Has to come before the first further thread. Python's own installation can be read, programs
    cannot be started any more.

    Args:
        read: Files, and folders with all below them, that can still be read.
        write: Those that can be read, written, made and removed too.

    Returns:
        Whether it worked; if not, nothing has changed: the kernel knows no Landlock, say, or there
        are threads already.
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
            # Everything but to run it.
            _allow(library, rules, path, handled & ~1)
        for path in (*map(Path, _DEVICES), *Path("/dev").glob("nvidia*")):
            _allow(library, rules, path, handled & (_READ_FILE | _WRITE_FILE | 1 << 15))
        if library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
            return False
        return bool(library.syscall(_RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def _allow(library: ctypes.CDLL, rules: int, path: Path, rights: int) -> None:
    """Adds a rule; for a path that is not there, there is nothing to allow."""
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
    """Python's installation: its library, and folders of packages; never a folder of the user's."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    parts = [Path(prefix, part) for prefix in prefixes for part in ("lib", "lib64", "pyvenv.cfg")]
    packages = [Path(e) for e in sys.path if Path(e).name in ("site-packages", "dist-packages")]
    return parts + packages
