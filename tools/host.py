"""Host functions of set-up: running commands, detecting glibc, downloading from the apt archive.

Standard library only, as for `bootstrap.py`.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

#: Names that a sources file may use instead of a release's codename.
SUITE_ALIASES = {"stable", "oldstable", "testing", "unstable", "sid"}


class BootstrapError(Exception):
    """Set-up cannot continue; the text has the next step.

    Args:
        message: What failed, and the next step.
        output: Complete output of the failed command.
    """

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class AptSource(NamedTuple):
    """An archive from apt's configuration."""

    mirror: str
    suite: str
    keyring: str


def run(
    *command: str | Path, cwd: Path | None = None, variables: Mapping[str, str] | None = None
) -> str:
    """Run a command and return its output.

    Args:
        command: The program and its arguments.
        cwd: The folder to run it in.
        variables: Added to the environment, except those that the user has set.

    Raises:
        BootstrapError: It fails; with the end of its output.
    """
    # Settings of the user or an activated environment for Python and pip do not apply here.
    dropped = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX"}
    environment = dict(variables or {})
    environment |= {k: v for k, v in os.environ.items() if k not in dropped}
    environment |= {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_USER": "0"}
    environment |= {"UV_PYTHON_DOWNLOADS": "never", "UV_SYSTEM_CERTS": "1"}
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        cwd=cwd,
        env=environment,
        close_fds=False,  # inherits the set-up's lock
    )
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-12:])
        name = " ".join([Path(command[0]).name, *map(str, command[1:3])])
        raise BootstrapError(f"`{name}` failed:\n{tail}", done.stdout)
    return done.stdout


def report(text: str) -> None:
    """Print a line of progress."""
    print(f"set-up: {text}", flush=True)


def glibc_of(python: str | Path) -> tuple[int, ...]:
    """Return an interpreter's glibc version; empty for another libc, or if it does not start."""
    code = "import os; print(os.confstr('CS_GNU_LIBC_VERSION') or '')"
    with contextlib.suppress(BootstrapError, OSError):
        numbers = re.findall(r"\d+", run(python, "-c", code))
        return tuple(int(n) for n in numbers[:2])
    return ()


def os_release() -> dict[str, str]:
    """Read the host's os-release file; empty if there is none."""
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release()
    return {}


def distribution(release: Mapping[str, str]) -> str:
    """Return `ubuntu`, `debian` or an empty string, from the fields of os-release."""
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    # Ubuntu says ID_LIKE=debian, so the more specific name comes first.
    return next((name for name in ("ubuntu", "debian") if name in names), "")


def read_apt_sources(files: Iterable[Path]) -> list[AptSource]:
    """Read the archives in apt's one-line (`.list`) and deb822 (`.sources`) files, `main` only."""
    found = []
    for path in files:
        try:
            text = re.sub(r"^\s*#.*\n?", "", path.read_text(), flags=re.MULTILINE)
        except OSError:
            continue
        if path.suffix == ".list":
            pattern = r"^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)$"
            for options, mirror, suite, components in re.findall(pattern, text, re.MULTILINE):
                signed = re.search(r"signed-by=(/\S+)", options)
                if "main" in components.split():
                    found.append(AptSource(mirror, suite, signed[1] if signed else ""))
        elif path.suffix == ".sources":
            for stanza in re.split(r"\n\s*\n", text):
                pairs = re.findall(r"^([\w-]+):((?:.*)(?:\n[ \t].*)*)", stanza, re.MULTILINE)
                field = {key.lower(): value.split() for key, value in pairs}
                if field.get("enabled") == ["no"] or "deb" not in field.get("types", []):
                    continue
                if "main" not in field.get("components", []) or not field.get("uris"):
                    continue
                signed_by = [word for word in field.get("signed-by", []) if word[0] == "/"]
                keyring = signed_by[0] if signed_by else ""
                mirror = field["uris"][0]
                found += [AptSource(mirror, suite, keyring) for suite in field.get("suites", [])]
    return [source for source in found if not source.mirror.startswith("cdrom:")]


def private_sources(files: Iterable[Path], release: Mapping[str, str], suite: str | None) -> str:
    """Write the host's own archive, optionally with another suite, as a one-line entry.

    It keeps the host's mirror and keyring.
    """
    name = distribution(release)
    own = release.get(f"{name.upper()}_CODENAME") or release.get("VERSION_CODENAME", "")
    sources = read_apt_sources(files)
    exact = [source for source in sources if source.suite == own]
    named = [source for source in sources if source.suite in SUITE_ALIASES]
    if not exact + named:
        raise BootstrapError(
            f"apt is configured with no archive for {own or 'this release'}, so what set-up is "
            "missing cannot be fetched. Use the container image (docs/install.md)."
        )
    source = (exact + named)[0]
    keyring = source.keyring or f"/usr/share/keyrings/{name}-archive-keyring.gpg"
    signed = f"[signed-by={keyring}] " if Path(keyring).exists() else ""
    components = "main universe" if name == "ubuntu" else "main"
    return f"deb {signed}{source.mirror} {suite or source.suite} {components}\n"


def apt_download(packages: Iterable[str], suite: str | None, into: Path) -> Path:
    """Download and unpack Debian packages without root and without changes to the system.

    Args:
        packages: Package names.
        suite: The release to take them from; None for the host's own.
        into: The folder for it, emptied first.

    Returns:
        The folder that corresponds to `/` in the packages.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise BootstrapError(
            f"{', '.join(packages)}: missing or too old here, and there is no apt to fetch a "
            "newer one. Use the container image (docs/install.md)."
        )
    shutil.rmtree(into, ignore_errors=True)
    (into / "lists" / "partial").mkdir(parents=True)
    (into / "cache" / "archives" / "partial").mkdir(parents=True)
    apt = Path("/etc/apt")
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    (into / "sources.list").write_text(private_sources(files, os_release(), suite))
    options = ["-o", "APT::Sandbox::User=", "-o", f"Dir::State::lists={into}/lists"]
    options += ["-o", f"Dir::Cache={into}/cache"]
    options += ["-o", f"Dir::Etc::sourcelist={into}/sources.list"]
    options += ["-o", "Dir::Etc::sourceparts=/dev/null"]
    run("apt-get", *options, "update")
    run("apt-get", *options, "download", *packages, cwd=into)
    for archive in sorted(into.glob("*.deb")):
        run("dpkg-deb", "-x", archive, into / "root")
        archive.unlink()
    shutil.rmtree(into / "lists")
    shutil.rmtree(into / "cache")
    return into / "root"
