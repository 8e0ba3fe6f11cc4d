"""What is fine on this machine and in this installation, and what is not.

Each check takes what was measured and judges it, so that a test can hand it any machine. None
imports TensorFlow or TFX: the checks answer where those do not start.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
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
_SET_UP = "python3 tools/bootstrap.py brings .venv to the lock"
_NAMES_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: What was looked at.
        state: `ok`; `warn`: a run may work all the same; `fail`: it will not.
        found: What there is.
        fix: What to do about it; empty if the state is `ok`.
    """

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    fix: str = ""


def check_machine(workspace: Path, lock: Path, metadata: Location | None = None) -> list[Check]:
    """Every check, on this machine.

    Args:
        workspace: The folder that holds artifacts and runs.
        lock: The file that says which packages belong here.
        metadata: Where ML Metadata is; by default a SQLite file in the workspace.
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
    """The interpreter has to be one that TFX has wheels for."""
    found = ".".join(map(str, version))
    if PYTHONS[0] <= version[:2] <= PYTHONS[1]:
        return Check("python", "ok", found)
    fix = "TFX 1.21 needs 3.11, 3.12 or 3.13: make clean, then make PYTHON=python3.12 .venv/.ready"
    return Check("python", "fail", found, fix)


def check_glibc(version: tuple[int, ...]) -> Check:
    """The C library that this interpreter runs on, which need not be the system's."""
    found = ".".join(map(str, version)) or "not glibc"
    if version >= GLIBC:
        return Check("glibc", "ok", found)
    fix = "2.39 or newer is needed: run tools/bootstrap.py, or use the image (docs/install.md)"
    return Check("glibc", "fail", found, fix)


def check_packages(lock: Path, installed: Callable[[str], str | None]) -> Check:
    """The lock against what is installed: missing fails, another version warns.

    Args:
        lock: A file of `name==version ; marker` lines with indented hashes below each.
        installed: A package's installed version by its name; None if it is missing.
    """
    if not lock.is_file():
        fix = "run ordain from its repository to have versions compared"
        return Check("packages", "warn", f"no {lock.name} beside the code", fix)
    needed = read_lock(lock)
    missing, other = [], []
    for requirement in needed:
        version = installed(requirement.name)
        if version is None:
            missing.append(requirement.name)
        elif not requirement.specifier.contains(version, prereleases=True):
            other.append(f"{requirement.name} {version} (locked {str(requirement.specifier)[2:]})")
    if missing:
        return Check("packages", "fail", f"missing: {_some(missing)}", _SET_UP)
    if other:
        return Check("packages", "warn", f"other versions: {_some(other)}", _SET_UP)
    return Check("packages", "ok", f"all {len(needed)} at the locked versions")


def read_lock(lock: Path) -> list[Requirement]:
    """The requirements of a lock that hold for this Python and platform."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    names = [line.rstrip(" \\") for line in lines if line[:1].isalnum()]
    requirements = [Requirement(name) for name in names]
    return [r for r in requirements if r.marker is None or r.marker.evaluate()]


def check_cpus(count: int) -> Check:
    """How many processors this process may use; any number works."""
    return Check("processors", "ok", str(count))


def check_memory(total_bytes: int) -> Check:
    """Memory of the machine, or of the container it is limited to."""
    found = f"{total_bytes / GB:.1f} GB"
    if total_bytes >= MEMORY_WARN_BYTES:
        return Check("memory", "ok", found)
    fix = "under 4 GB a run of the flights year may be ended by the system: take a shorter window"
    return Check("memory", "warn", found, fix)


def check_workspace(workspace: Path) -> Check:
    """Whether the workspace, or the folder that it will be made in, can be written."""
    problem = _write_problem(_nearest_folder(workspace))
    if problem:
        fix = "make it writable, or name another: --set workspace=/path/to/folder"
        return Check("workspace", "fail", f"{workspace}: {problem}", fix)
    state = "writable" if workspace.is_dir() else "not there yet: made by the first run"
    return Check("workspace", "ok", f"{workspace}: {state}")


def check_disk(free_bytes: int, workspace: Path) -> Check:
    """Space for artifacts and models."""
    found = f"{free_bytes / GB:.1f} GB free for {workspace}"
    if free_bytes >= DISK_WARN_BYTES:
        return Check("disk", "ok", found)
    state: Literal["warn", "fail"] = "fail" if free_bytes < DISK_FAIL_BYTES else "warn"
    return Check("disk", state, found, "free some, or name another: --set workspace=/path")


def check_database(path: Path) -> Check:
    """ML Metadata's SQLite file, opened read-only and read through by SQLite's own check."""
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
            return Check("database", "warn", f"{path}: in use", "ask again when the run has ended")
        if code == sqlite3.SQLITE_READONLY_ROLLBACK:
            found = f"{path}: a run was stopped while writing"
            return Check("database", "warn", found, "the next run takes the half write back")
        if code == sqlite3.SQLITE_CANTOPEN:
            return Check("database", "fail", f"{path}: {error}", "let this user read and write it")
        problems = [str(error)]
    if problems == ["ok"]:
        return Check("database", "ok", f"{path}: {path.stat().st_size / 1e6:.1f} MB, intact")
    fix = (
        f"restore a backup, or move it away (mv {path} {path}.bad): the next run makes a new one "
        "without the past runs; published models stay"
    )
    return Check("database", "fail", f"{path}: {' '.join(problems[0].split())}", fix)


def check_server(server: Server) -> Check:
    """ML Metadata's server: whether it answers, and who it says it is."""
    try:
        found = metadata_store.check_server(server, "ordain doctor")
    except InfrastructureError as error:
        return Check("database", "fail", error.message, error.hint)
    return Check("database", "ok", f"{server}: {found}")


def check_scratch(folder: Path) -> Check:
    """The folder for temporary files, which TensorFlow and Beam write to."""
    problem = _write_problem(folder)
    if problem:
        fix = "make it writable, or set TMPDIR to a folder that is"
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
