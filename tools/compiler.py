"""Compiler and headers for packages that come as source: the machine's, else private ones.

Standard library only, as for `bootstrap.py`. One of these packages is not pure Python:
pyfarmhash, a C++ extension that tensorflow-data-validation imports.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

from host import BootstrapError, apt_download, report, run

LOCK = Path(__file__).with_suffix(".lock")
#: Prints the folder of an interpreter's headers, and its compiler in setuptools.
BUILT_WITH = """
import sysconfig
print(sysconfig.get_path("include"))
print(sysconfig.get_config_var("CXX") or "c++")
"""


def build_variables(
    uv: Path, python: Path, private: Path, variables: Mapping[str, str]
) -> dict[str, str]:
    """Return variables for setuptools to build extensions; none if the machine's tools suffice.

    Args:
        uv: The installed uv.
        python: The interpreter to build for.
        private: The folder for private tools.
        variables: uv's variables for index and cache.
    """
    include, compiler = run(python, "-c", BUILT_WITH).splitlines()
    found: dict[str, str] = {}
    # A compiler set by the user is used without checks; its error is shown.
    if "CXX" not in os.environ and not can_compile(compiler):
        found |= private_compiler(uv, python, private / "compiler", variables)
    if not Path(include, "Python.h").exists():
        found |= private_headers(include, private / "headers")
    return found


def can_compile(compiler: str) -> bool:
    """True if the compiler that Python was built with works, including its C++ library."""
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(BootstrapError, OSError):
        source = Path(folder, "probe.cc")
        source.write_text("#include <string>\n")
        output = source.with_suffix(".so")
        run(*shlex.split(compiler), "-shared", "-fPIC", source, "-o", output)
        return True
    return False


def private_compiler(
    uv: Path, python: Path, into: Path, variables: Mapping[str, str]
) -> dict[str, str]:
    """Install zig, pinned by hash, and return variables that make it the C++ compiler."""
    report("no C++ compiler here; using zig's, installed inside .venv (100 MB)")
    command: list[str | Path] = [uv, "pip", "install", "--python", python, "--target", into]
    run(*command, "--require-hashes", "-r", LOCK, variables=variables)
    # With a target named, zig takes its own libc and the plain x86_64, whatever this machine has:
    # farmhash's hashes depend on the processor that is compiled for.
    zig = shlex.join([str(into / "ziglang" / "zig"), "c++", "-target", "x86_64-linux-gnu"])
    return {
        "CXX": zig,
        # Not the flags of the compiler that Python was built with. Debian's pyconfig.h is looked
        # for from /usr/include, which comes last: its libc headers do not mix with zig's.
        "CXXFLAGS": "-O2 -DNDEBUG -idirafter /usr/include",
        # pyfarmhash needs only headers of the C++ library, and zig would compile all of it.
        "LDCXXSHARED": f"{zig} -shared -nostdlib++",
        "ZIG_GLOBAL_CACHE_DIR": str(into / "cache"),
        "ZIG_LOCAL_CACHE_DIR": str(into / "cache"),
    }


def private_headers(include: str, into: Path) -> dict[str, str]:
    """Fetch Python's headers from the distribution and return the variable with their path."""
    name = Path(include).name
    folder = into / "root" / "usr" / "include"
    if not (folder / name / "Python.h").exists():
        report("Python's headers are not here; unpacking the distribution's inside .venv")
        try:
            apt_download([f"lib{name}-dev"], None, into)
        except BootstrapError as error:
            raise BootstrapError(
                f"{include}/Python.h is missing. Install Python's headers "
                f"(Debian, Ubuntu: apt-get install {name}-dev).\n{error}"
            ) from error
    # Debian's pyconfig.h is in a separate folder, included relative to usr/include.
    return {"CPPFLAGS": shlex.join(["-I", str(folder / name), "-idirafter", str(folder)])}
