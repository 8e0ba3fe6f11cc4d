"""What the machine offers to set-up: running its commands, its glibc, its apt archive.

Standard library only, like `bootstrap.py`, which is the only caller.
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
    """Set-up cannot go on; the text says what to do.

    Args:
        message: What failed and what to do.
        output: What the failed command printed, whole.
    """

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class AptSource(NamedTuple):
    """One archive that apt is configured to use."""

    mirror: str
    suite: str
    keyring: str


def run(
    *command: str | Path, cwd: Path | None = None, variables: Mapping[str, str] | None = None
) -> str:
    """Runs a command and returns what it prints.

    Args:
        command: The program and its arguments.
        cwd: The folder to run it in.
        variables: Added to the environment; one that the user has set is left as it is.

    Raises:
        BootstrapError: With the end of what it printed, if it fails.
    """
    # What a user or an activated environment sets for Python and pip is not meant for this one.
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
        close_fds=False,  # the set-up's lock is inherited
    )
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-12:])
        name = " ".join([Path(command[0]).name, *map(str, command[1:3])])
        raise BootstrapError(f"`{name}` failed:\n{tail}", done.stdout)
    return done.stdout


def say(text: str) -> None:
    """One line of progress."""
    print(f"set-up: {text}", flush=True)


def glibc_of(python: str | Path) -> tuple[int, ...]:
    """The glibc an interpreter runs on; empty on another libc, or if it cannot start."""
    code = "import os; print(os.confstr('CS_GNU_LIBC_VERSION') or '')"
    with contextlib.suppress(BootstrapError, OSError):
        numbers = re.findall(r"\d+", run(python, "-c", code))
        return tuple(int(n) for n in numbers[:2])
    return ()


def os_release() -> dict[str, str]:
    """The fields of the host's os-release file; empty where there is none."""
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release()
    return {}


def distribution(release: Mapping[str, str]) -> str:
    """`ubuntu`, `debian` or the empty string, from the fields of os-release."""
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    # Ubuntu says ID_LIKE=debian, so the more specific name is looked for first.
    return next((name for name in ("ubuntu", "debian") if name in names), "")


def read_apt_sources(files: Iterable[Path]) -> list[AptSource]:
    """The archives in apt's one-line (`.list`) and deb822 (`.sources`) files, `main` only."""
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
    """The host's own archive, with another suite if one is named, as a one-line entry.

    Whatever mirror the host uses is used here too, with the keyring the host names for it.
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
    """Downloads and unpacks Debian packages without root and without touching the system.

    Args:
        packages: Their names.
        suite: The release to take them from; None for the host's own.
        into: The folder for it, emptied first.

    Returns:
        The folder that stands for `/` in the packages.
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
