"""Finds the published version that a new model is compared with or warm-started from.

It is found by the labels and manifests of the serving directory, or by the manifests of an object
store. ML Metadata is not used, so the same version is found after a move, on another machine, or
with a restored or lost database. Before a version is loaded it is copied to a private folder, and
that copy is verified, scanned and loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ordain.common.digests import FileDigest, digest_tree
from ordain.errors import ConfigError, InfrastructureError
from ordain.serving.registry.label_file import LABELS_FILE, STABLE, Labels, read_labels
from ordain.serving.registry.manifest import MODEL_CARD_FILE, Manifest
from ordain.serving.registry.object_store import (
    check_object_version,
    fetch_object_version,
    list_object_versions,
    read_object_manifest,
)
from ordain.serving.registry.trust import Trust
from ordain.serving.registry.verification import read_manifest_bytes, summary, verify
from ordain.serving.registry.versions import list_versions
from ordain.storage.gcs import is_object_store

_NEXT = "ordain models list PROJECT; ordain models promote or rollback moves the label stable"


@dataclass(frozen=True)
class Served:
    """A published version.

    Attributes:
        version: Its number.
        address: Its folder, or `gs://bucket/folder/<version>`.
        role: Reason for the choice: `stable`, `newest published` or `pinned`.
        digest: SHA-256 of its manifest.
        files: The digest of every file, from the manifest.
    """

    version: int
    address: str
    role: str
    digest: str
    files: tuple[FileDigest, ...] = ()

    @property
    def name(self) -> str:
        """The version with its role, such as `version 3 (stable)`."""
        return f"version {self.version} ({self.role})"


def find_served(base: str, rule: str | int, trust: Trust | None = None) -> Served | None:
    """Finds the version that a rule selects.

    `stable` is the version with that label. If no version has it (nothing was promoted yet), and in
    an object store, which has no labels, it means `latest`: the newest published version that no
    rollback took out of service.

    Args:
        base: The serving directory, or `gs://bucket/folder`.
        rule: `stable`, `latest`, or the number of a version.
        trust: Required signer of the labels; None, or no key in it, accepts any.

    Returns:
        The version; None while nothing has been published.

    Raises:
        ConfigError: There is no version of that number.
        InfrastructureError: The stable version is missing, or the labels, the manifest, the
            directory or the store cannot be read.
    """
    try:
        chosen = _choose(base, rule, trust)
        if chosen is None:
            return None
        version, role = chosen
        address = address_of(base, version)
        try:
            read = read_object_manifest if is_object_store(base) else read_manifest_bytes
            content = read(address)
            files = Manifest.from_json(content).files
        except InfrastructureError as error:
            raise _unusable(version, address, error.message) from error
    except OSError as error:
        raise InfrastructureError(
            f"{error.filename or base} cannot be read: {error.strerror}",
            "mount the serving directory or correct permissions, then run again",
        ) from error
    return Served(version, address, role, hashlib.sha256(content).hexdigest(), files)


def check_served(base: str, rule: str | int, trust: Trust | None) -> Served | None:
    """Finds the version that a rule selects, and verifies its manifest and signature.

    In an object store only names and sizes of the objects are compared with the manifest; content
    and signature are checked by `private_copy`.

    Raises:
        ConfigError: There is no version of that number, or the key cannot be used.
        InfrastructureError: The version cannot be used as a baseline; names it and its folder.
    """
    served = find_served(base, rule, trust)
    if served is None:
        return None
    if is_object_store(base):
        problems = check_object_version(served.address)
    else:
        problems = verify(served.address, trust)
    if problems:
        raise _unusable(served.version, served.address, *problems)
    return served


@contextlib.contextmanager
def private_copy(address: str, trust: Trust | None) -> Iterator[Path]:
    """Copies a version to a private folder, and checks the copy.

    Args:
        address: The version's folder, or `gs://bucket/folder/<version>`.
        trust: Required signer of the version; None while signing is off.

    Yields:
        The folder of the copy, which holds the SavedModel; it is removed at the end.

    Raises:
        InfrastructureError: The version is missing, does not verify, or may not be loaded.
    """
    from ordain.serving.server.models.checks import copy_checked  # noqa: PLC0415  imports TensorFlow's messages

    version = address.rstrip("/").rpartition("/")[2]
    with contextlib.ExitStack() as stack:
        try:
            source = Path(address)
            if is_object_store(address):
                temporary = stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="ordain-version-")
                )
                source = Path(temporary, version)
                fetch_object_version(address, source)
            copy = copy_checked(source, trust)
        except OSError as error:
            raise _unusable(
                version, address, f"{error.filename or address}: {error.strerror or error}"
            ) from error
        except InfrastructureError as error:
            raise _unusable(version, address, error.message) from error
        stack.callback(copy.remove)
        yield copy.folder


def address_of(base: str, version: int) -> str:
    """Address of a version of a serving directory."""
    return f"{base.rstrip('/')}/{version}"


def is_preceded(base: str, version: int) -> bool:
    """True if a version older than a given one is published."""
    return any(other < version for other in _listed(base))


def holds_files(served: Served, model: Path) -> bool:
    """True if a version consists of exactly the files of a SavedModel.

    Args:
        served: The version.
        model: Folder of the SavedModel.
    """
    listed = {file for file in served.files if file.path != MODEL_CARD_FILE}
    files = {p.relative_to(model).as_posix(): p for p in model.rglob("*") if p.is_file()}
    # Sizes first, so that files are read only if all sizes match.
    if {(name, path.stat().st_size) for name, path in files.items()} != {
        (file.path, file.size_bytes) for file in listed
    }:
        return False
    return set(digest_tree(model)) == listed


def _listed(base: str) -> list[int]:
    return list_object_versions(base) if is_object_store(base) else list_versions(base)


def _choose(base: str, rule: str | int, trust: Trust | None) -> tuple[int, str] | None:
    """The version that a rule selects, and its role."""
    versions = _listed(base)
    labels = Labels() if is_object_store(base) else read_labels(base, trust)
    if isinstance(rule, int):
        if rule not in versions:
            raise ConfigError(
                f"evaluate.baseline: there is no version {rule} in {base}",
                f"versions there: {', '.join(map(str, versions)) or 'none'}",
            )
        return rule, "pinned"
    if rule == STABLE and labels.stable is not None:
        if labels.stable not in versions:
            raise InfrastructureError(
                f"version {labels.stable} is stable in {Path(base, LABELS_FILE)}, but there is no "
                f"folder {address_of(base, labels.stable)}",
                f"restore it, or give the label to another version: {_NEXT}",
            )
        return labels.stable, STABLE
    published = [version for version in versions if version not in labels.rolled_back]
    if versions and not published:
        raise InfrastructureError(
            f"{base}: every version was rolled back, so there is none to compare with",
            f"make a version stable: {_NEXT}",
        )
    return (published[-1], "newest published") if published else None


def _unusable(version: int | str, address: str, *problems: str) -> InfrastructureError:
    return InfrastructureError(
        f"version {version} cannot be used as a baseline: {address}: {summary(problems)}",
        "check it with ordain models verify PROJECT; restore the version, move the label stable to "
        "another one (ordain models rollback), or name another baseline in evaluate.baseline",
    )
