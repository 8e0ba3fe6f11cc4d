"""Publishes to the serving directory: `<base>/<integer version>/`, a SavedModel with its manifest.

A version appears by one rename of a complete, synced folder, so readers only find complete models,
even if the publisher is killed. Hidden folders are staging folders, not versions; those of a killed
publisher are removed by the next one.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ordain.common.atomic_files import locked, sync, sync_tree
from ordain.common.digests import FileDigest, digest_file
from ordain.common.owned_folder import make_owned_folder, remove_abandoned
from ordain.errors import InfrastructureError
from ordain.serving.registry import model_card
from ordain.serving.registry.label_file import Labels
from ordain.serving.registry.label_writing import settle
from ordain.serving.registry.manifest import (
    MANIFEST_FILE,
    MODEL_CARD_FILE,
    SIGNATURE_FILE,
    Manifest,
)
from ordain.serving.registry.signing import sign_version
from ordain.serving.registry.trust import SigningKey, Trust
from ordain.serving.registry.versions import list_versions

LOCK_FILE = ".publish.lock"
STAGING_PREFIX = ".staging-"
#: Prefix that `ordain.serving.registry.retention` gives a version before deleting it.
REMOVED_PREFIX = ".removed-"
#: Attempts to find a free number, in case somebody publishes without the lock.
MAX_ATTEMPTS = 100
_RESERVED = (MANIFEST_FILE, SIGNATURE_FILE, MODEL_CARD_FILE)


def publish(
    model: str | Path,
    base: str | Path,
    about: Manifest,
    trust: Trust | None = None,
    check: Callable[[Path], None] | None = None,
) -> Path:
    """Copies a SavedModel into the serving directory as its next version.

    Args:
        model: Folder of the SavedModel.
        base: The serving directory; created if missing.
        about: The manifest; `version`, `created`, `parent` and `files` are filled in here.
        trust: The directory's project and keys; None, or no key in it, leaves it unsigned.
        check: Checks the copy before it becomes a version, and raises if it must not. The checked
            copy is what is published.

    Returns:
        The new version's folder.

    Raises:
        InfrastructureError: The copy failed (for example a full disk) or differs from the model;
            nothing is left behind. Or the labels are lost or cannot be read.
        ConfigError: The key cannot be used.
    """
    base = Path(base)
    key = trust.key() if trust is not None else None
    try:
        base.mkdir(parents=True, exist_ok=True)
        with _staging(base) as staging:
            copy = staging / "version"
            files = copy_tree(Path(model), copy)
            sync_tree(copy)
            _check_copy(copy, files)
            if check is not None:
                check(copy)
            with locked(base / LOCK_FILE):
                return _place(copy, base, about, files, settle(base, trust), key)
    except (OSError, shutil.Error) as error:
        raise InfrastructureError(
            f"publishing to {base} failed: {error}",
            "free space or correct permissions, then run again: finished nodes are cached",
        ) from error


def prepare(
    folder: Path, about: Manifest, files: tuple[FileDigest, ...], key: SigningKey | None
) -> None:
    """Adds model card, manifest and signature to a copied SavedModel.

    Args:
        folder: The copy; files of an earlier attempt are replaced.
        about: The manifest, complete but for `files`.
        files: Digests of the copied files.
        key: Signs the version; None leaves it unsigned.
    """
    card = folder / MODEL_CARD_FILE
    card.write_text(model_card.render(replace(about, files=files), folder), encoding="utf-8")
    listed = (*files, digest_file(card, MODEL_CARD_FILE))
    manifest = replace(about, files=tuple(sorted(listed, key=lambda file: file.path)))
    (folder / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    if key is not None:
        (folder / SIGNATURE_FILE).unlink(missing_ok=True)
        sign_version(folder, key)


def copy_tree(source: Path, target: Path) -> tuple[FileDigest, ...]:
    """Copies a folder, following links to files; returns the digests of the source files."""
    digests = []
    target.mkdir()
    for parent, folders, names in os.walk(source, onerror=_raise):
        below = Path(parent).relative_to(source)
        for name in folders:
            if Path(parent, name).is_symlink():
                raise InfrastructureError(f"{Path(parent, name)} is a link to a folder")
            (target / below / name).mkdir()
        for name in names:
            relative = (below / name).as_posix()
            if relative in _RESERVED:
                raise InfrastructureError(
                    f"the model contains {relative}, a name reserved by the serving directory",
                    "remove that file from the export of run_fn",
                )
            shutil.copyfile(Path(parent, name), target / relative)
            digests.append(digest_file(Path(parent, name), relative))
    return tuple(sorted(digests, key=lambda digest: digest.path))


def next_version(base: Path, labels: Labels) -> int:
    """The number after the highest version that exists or existed."""
    recorded = [change.version or 0 for change in labels.changes]
    return max([0, *list_versions(base), *recorded]) + 1


def sweep(base: Path) -> None:
    """Cleans up after killed publishers and removals; the caller holds the publishers' lock."""
    # Staging folders are made under that lock: none is in the making now.
    remove_abandoned(base, STAGING_PREFIX, grace_s=-math.inf)
    for folder in base.glob(f"{REMOVED_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _staging(base: Path) -> Iterator[Path]:
    """Creates a hidden folder on the directory's file system, with a lock held by this process."""
    with locked(base / LOCK_FILE):
        sweep(base)
        staging, owner = make_owned_folder(base, STAGING_PREFIX)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        os.close(owner)


def _check_copy(copy: Path, files: tuple[FileDigest, ...]) -> None:
    """Compares the copy, read back from the disk, with the digests of the source."""
    for file in files:
        path = copy / file.path
        _forget(path)
        if digest_file(path, file.path) != file:
            raise InfrastructureError(
                f"{file.path} differs from its source after the copy",
                "check the disk of the serving directory, then run again",
            )


def _forget(path: Path) -> None:
    """Drops a synced file from the page cache, so that it is read from the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _place(
    copy: Path,
    base: Path,
    about: Manifest,
    files: tuple[FileDigest, ...],
    labels: Labels,
    key: SigningKey | None,
) -> Path:
    """Gives a copied model its number, manifest and name; the caller holds the lock."""
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    first = next_version(base, labels)
    for version in range(first, first + MAX_ATTEMPTS):
        known = replace(about, version=version, created=created, parent=labels.stable)
        prepare(copy, known, files, key)
        sync_tree(copy)
        if _rename_new(copy, base / str(version)):
            sync(base)
            return base / str(version)
    raise InfrastructureError(f"{base}: no free version number in {MAX_ATTEMPTS} attempts")


def _rename_new(source: Path, target: Path) -> bool:
    """Renames a folder to a new name; False if the name exists."""
    try:
        # rename(2) replaces only an empty folder, and versions are never empty.
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            return False
        raise
    return True


def _raise(error: OSError) -> None:
    raise error
