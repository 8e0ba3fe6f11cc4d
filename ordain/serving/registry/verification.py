"""Reads a version's manifest, and verifies a version against it. Runs no code of the model.

A version verifies if its folder holds exactly the files of its manifest, each with its digest, and,
where signing is on, if its signature verifies with the key and the manifest names the project.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ordain.common.atomic_files import read_plain
from ordain.common.digests import digest_file, walk
from ordain.errors import InfrastructureError
from ordain.serving.registry.manifest import MANIFEST_FILE, SIGNATURE_FILE, Manifest
from ordain.serving.registry.signing import check_signature
from ordain.serving.registry.trust import Trust

#: A manifest lists files, metrics and verdicts; larger files are refused.
MAX_MANIFEST_BYTES = 64_000_000


def read_manifest(folder: str | Path) -> Manifest:
    """Reads the manifest of a version's folder, without verifying the files.

    Raises:
        InfrastructureError: There is none, or it cannot be read; names the file.
    """
    content = read_manifest_bytes(folder)
    try:
        return Manifest.from_json(content)
    except InfrastructureError as error:
        path = Path(folder, MANIFEST_FILE)
        raise InfrastructureError(f"{path}: {error.message}", error.hint) from error


def read_manifest_bytes(folder: str | Path) -> bytes:
    """Reads the content of a version's manifest, which may be anything.

    Raises:
        InfrastructureError: There is none, or it cannot be read.
    """
    try:
        return read_plain(Path(folder), MANIFEST_FILE, MAX_MANIFEST_BYTES)
    except FileNotFoundError as error:
        raise InfrastructureError(
            f"{folder} has no {MANIFEST_FILE}: it was not published completely, or by another tool",
            "publish it again: ordain run PROJECT --from Pusher",
        ) from error


def verify(folder: str | Path, trust: Trust | None = None) -> list[str]:
    """Verifies a version's folder against its manifest, and its signature with a key.

    Args:
        folder: The version's folder, named by its number.
        trust: Required signer of the version; None, or no key in it, skips the signature.

    Returns:
        One sentence for each problem: manifest missing or damaged; file missing, not listed,
        changed or not a plain file; signature missing or wrong; another version number or project.
        Empty if the version verifies.

    Raises:
        ConfigError: The key itself cannot be used.
    """
    folder = Path(folder)
    if folder.is_symlink():
        return [f"{folder.name} is a link, not a folder"]
    if not folder.is_dir():
        return [f"{folder} has no {MANIFEST_FILE}: there is no such folder"]
    try:
        # Only files known to be plain are opened.
        problems = [f"{name} is not a plain file" for name, p in walk(folder) if not _is_plain(p)]
        if problems:
            return problems
        if trust is not None and trust.public_key is not None:
            problems += check_signature(folder, trust.public_key)
        manifest = read_manifest(folder)
        if folder.name.isdecimal() and int(folder.name) != manifest.version:
            is_of = f"the manifest is that of version {manifest.version}, not {folder.name}"
            problems.append(is_of)
        if trust is not None and trust.is_signed and manifest.project != trust.project:
            is_of = f"the manifest is that of project {manifest.project!r:.80}"
            problems.append(f"{is_of}, not {trust.project!r}")
        problems += _compare(folder, manifest)
    except InfrastructureError as error:
        problems.append(error.message)
    except OSError as error:
        problems.append(f"{error.filename or folder} cannot be read: {error.strerror}")
    return problems


def _is_plain(path: Path) -> bool:
    # A link may lead to a file that changes, or out of the folder.
    return not path.is_symlink() and path.is_file()


def _compare(folder: Path, manifest: Manifest) -> list[str]:
    found = {name: path for name, path in walk(folder) if _is_plain(path)}
    for name in (MANIFEST_FILE, SIGNATURE_FILE):
        found.pop(name, None)
    listed = {file.path: file for file in manifest.files}
    problems = [f"{name} is missing" for name in sorted(listed.keys() - found.keys())]
    problems += [f"{name} is not listed" for name in sorted(found.keys() - listed.keys())]
    for name in sorted(found.keys() & listed.keys()):
        expected, is_size = listed[name], found[name].stat().st_size
        if is_size != expected.size_bytes:
            problems.append(f"{name} has {is_size} bytes, not {expected.size_bytes}")
        elif digest_file(found[name], name) != expected:
            problems.append(f"{name} was changed after it was published")
    return problems


def summary(problems: Sequence[str]) -> str:
    """The first of several problems, and how many more there are."""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{problems[0]}{more}"
