"""Checks of a machine and an installation.

Each check is a function of measured values, so that tests can pass those of any machine. None
imports TensorFlow or TFX: the checks also work where those do not start.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from packaging.requirements import Requirement

from ordain.common.memory import read_memory
from ordain.errors import InfrastructureError
from ordain.metadata import store as metadata_store
from ordain.metadata.location import Location, Server

GB = 1_000_000_000
#: TFX 1.21 has wheels for these.
PYTHONS = ((3, 11), (3, 13))
#: The wheels of ml-metadata and tensorflow-data-validation are built against it.
GLIBC = (2, 39)
#: A full year of flights leaves about 1 GB in the workspace; several runs and models leave more.
DISK_FAIL_BYTES = 1 * GB
DISK_WARN_BYTES = 5 * GB
#: The flights year peaks at 2.3 GB beside the system's own.
MEMORY_WARN_BYTES = 4 * GB
SCRATCH_WARN_BYTES = 1 * GB
_SET_UP = "run python3 tools/bootstrap.py, which installs the locked versions"
_NAMES_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Args:
        name: What was checked.
        state: `ok`; `warn`: a run may work all the same; `fail`: none will.
        found: What was found.
        fix: What to do about it; empty if the state is `ok`.
    """

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    fix: str = ""


def check_machine(workspace: Path, lock: Path, metadata: Location | None = None) -> list[Check]:
    """Run all checks on this machine.

    Args:
        workspace: The folder that holds artifacts and runs.
        lock: The file of locked packages.
        metadata: Where the ML Metadata store is; by default an SQLite file in the workspace.
    """
    nearest = _nearest_folder(workspace)
    return [
        check_python(sys.version_info[:3]),
        check_glibc(_glibc()),
        check_packages(lock, _installed_version),
        check_cpus(len(os.sched_getaffinity(0))),
        check_memory(read_memory().total_bytes),
        check_workspace(workspace),
        check_disk(shutil.disk_usage(nearest).free, workspace),
        check_server(metadata)
        if metadata is not None and not isinstance(metadata, Path)
        else check_database(metadata or workspace / "metadata.sqlite"),
        check_scratch(Path(os.environ.get("TMPDIR", "/tmp"))),  # noqa: S108  where others write
    ]


def check_python(version: tuple[int, ...]) -> Check:
    """Check that TFX has wheels for this interpreter."""
    found = ".".join(map(str, version))
    if PYTHONS[0] <= version[:2] <= PYTHONS[1]:
        return Check("python", "ok", found)
    fix = "TFX 1.21 needs Python 3.11, 3.12 or 3.13: set up again with one of these"
    return Check("python", "fail", found, fix)


def check_glibc(version: tuple[int, ...]) -> Check:
    """Check the C library of this interpreter, which may be newer than the system's."""
    found = ".".join(map(str, version)) or "not glibc"
    if version >= GLIBC:
        return Check("glibc", "ok", found)
    fix = "2.39 or newer is needed: set up from the repository (make), or use the container image"
    return Check("glibc", "fail", found, fix)


def check_packages(lock: Path, installed: Callable[[str], str | None]) -> Check:
    """Compare installed packages with the lock, or without one with this package's ranges.

    Args:
        lock: A file of `name==version ; marker` lines with indented hashes below each. An installed
            wheel has none.
        installed: A package's installed version by its name; None if it is missing.
    """
    is_locked = lock.is_file()
    needed = read_lock(lock) if is_locked else _declared()
    fix = _SET_UP if is_locked else "pip install --force-reinstall with ordain's wheel"
    missing, other = [], []
    for requirement in needed:
        version = installed(requirement.name)
        if version is None:
            missing.append(requirement.name)
        elif not requirement.specifier.contains(version, prereleases=True):
            wanted = str(requirement.specifier)
            wanted = f"locked {wanted[2:]}" if is_locked else f"needs {wanted}"
            other.append(f"{requirement.name} {version} ({wanted})")
    if missing:
        return Check("packages", "fail", f"missing: {_some(missing)}", fix)
    if other:
        return Check("packages", "warn", f"other versions: {_some(other)}", fix)
    versions = "at the locked versions" if is_locked else "within the ranges of ordain's wheel"
    return Check("packages", "ok", f"all {len(needed)} {versions}")


def read_lock(lock: Path) -> list[Requirement]:
    """Read the requirements of a lock that apply to this Python and platform."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    return _applying(line.rstrip(" \\") for line in lines if line[:1].isalnum())


def _declared() -> list[Requirement]:
    """Read the requirements in the metadata of the installed package, without its extras."""
    return _applying(metadata.requires("ordain") or ())


def _applying(texts: Iterable[str]) -> list[Requirement]:
    requirements = [Requirement(text) for text in texts]
    return [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]


def check_cpus(count: int) -> Check:
    """Report how many processors this process may use; any number works."""
    return Check("processors", "ok", str(count))


def check_memory(total_bytes: int) -> Check:
    """Check the memory of the machine, or the limit of its container."""
    found = f"{total_bytes / GB:.1f} GB"
    if total_bytes >= MEMORY_WARN_BYTES:
        return Check("memory", "ok", found)
    fix = "below 4 GB the system may kill a run of a year of flights: use a shorter data.window"
    return Check("memory", "warn", found, fix)


def check_workspace(workspace: Path) -> Check:
    """Check that the workspace, or the folder it will be created in, is writable."""
    problem = _write_problem(_nearest_folder(workspace))
    if problem:
        fix = "make it writable, or use another: --set workspace=/path/to/folder"
        return Check("workspace", "fail", f"{workspace}: {problem}", fix)
    state = "writable" if workspace.is_dir() else "not there yet: created by the first run"
    return Check("workspace", "ok", f"{workspace}: {state}")


def check_disk(free_bytes: int, workspace: Path) -> Check:
    """Check the free space for artifacts and models."""
    found = f"{free_bytes / GB:.1f} GB free for {workspace}"
    if free_bytes >= DISK_WARN_BYTES:
        return Check("disk", "ok", found)
    state: Literal["warn", "fail"] = "fail" if free_bytes < DISK_FAIL_BYTES else "warn"
    return Check("disk", state, found, "free some, or use another workspace: --set workspace=/path")


def check_database(path: Path) -> Check:
    """Check the store's SQLite file, opened read-only, with SQLite's quick_check."""
    if not path.exists():
        return Check("database", "ok", f"{path}: not there yet: created by the first run")
    try:
        database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=2)
        try:
            problems = [row[0] for row in database.execute("PRAGMA quick_check(1)")]
        finally:
            database.close()
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_BUSY:
            return Check("database", "warn", f"{path}: in use", "check again after the run")
        if code == sqlite3.SQLITE_READONLY_ROLLBACK:
            found = f"{path}: a run was stopped while writing"
            return Check("database", "warn", found, "the next run rolls the unfinished write back")
        if code == sqlite3.SQLITE_CANTOPEN:
            return Check(
                "database",
                "fail",
                f"{path}: {error}",
                "make it readable and writable",
            )
        problems = [str(error)]
    if problems == ["ok"]:
        return Check("database", "ok", f"{path}: {path.stat().st_size / 1e6:.1f} MB, intact")
    fix = (
        f"restore a backup, or move it away (mv {path} {path}.bad): the next run creates a new "
        "one without the past runs; published models stay"
    )
    return Check("database", "fail", f"{path}: {' '.join(problems[0].split())}", fix)


def check_server(server: Server) -> Check:
    """Check that the ML Metadata store's server answers, and report its version."""
    try:
        found = metadata_store.check_server(server, "ordain doctor")
    except InfrastructureError as error:
        return Check("database", "fail", error.message, error.hint)
    return Check("database", "ok", f"{server}: {found}")


def check_scratch(folder: Path) -> Check:
    """Check the folder for temporary files, which TensorFlow and Beam write to."""
    problem = _write_problem(folder)
    if problem:
        fix = "make it writable, or set TMPDIR to a writable folder"
        return Check("scratch", "fail", f"{folder}: {problem}", fix)
    free = shutil.disk_usage(folder).free
    found = f"{folder}: {free / GB:.1f} GB free"
    if free >= SCRATCH_WARN_BYTES:
        return Check("scratch", "ok", found)
    return Check("scratch", "warn", found, "free some, or set TMPDIR to a folder on a larger disk")


def _glibc() -> tuple[int, ...]:
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):  # another C library, such as musl, has no such name
        return ()
    return tuple(int(part) for part in text.removeprefix("glibc ").split(".") if part.isdigit())


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _nearest_folder(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _write_problem(folder: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"cannot be written: {error.strerror}"


def _some(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
