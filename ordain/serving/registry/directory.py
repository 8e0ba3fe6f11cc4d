"""The serving directory: `<base>/<integer version>/`, each a whole SavedModel with its manifest.

A version appears by one rename of a complete, synced folder, so that whoever reads the directory
finds whole models at every instant, also if the publisher is killed. Hidden folders are staging
and no versions; what a dead publisher left is removed by the next one.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ordain.common.atomic_files import locked, sync, sync_tree
from ordain.common.digests import FileDigest, digest_file
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

__all__ = ["list_versions", "next_version", "prepare", "publish", "sweep"]

LOCK_FILE = ".publish.lock"
STAGING_PREFIX = ".staging-"
#: What `ordain.serving.registry.retention` renames a version to before it is deleted.
REMOVED_PREFIX = ".removed-"
#: Locked by the publisher as long as it lives; the lock ends with the process, the file may not.
_OWNER_FILE = "owner"
#: How often a number taken by somebody who does not ask for the lock is tried again.
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
        base: The serving directory; made if need be.
        about: What is known of the model; `version`, `created`, `parent` and `files` are filled
            in here.
        trust: The directory's project and keys; None, or no key in it, leaves it unsigned.
        check: Looks at the copy before it becomes a version, and raises if it must not: what was
            looked at is what is published.

    Returns:
        The new version's folder.

    Raises:
        InfrastructureError: The copy failed (a full disk, say) or is not what was copied;
            nothing is left behind. Or the labels are lost or cannot be read.
        ConfigError: The key cannot be used.
    """
    base = Path(base)
    key = trust.key() if trust is not None else None
    try:
        base.mkdir(parents=True, exist_ok=True)
        with _staging(base) as staging:
            whole = staging / "version"
            files = copy_tree(Path(model), whole)
            sync_tree(whole)
            _check_copy(whole, files)
            if check is not None:
                check(whole)
            with locked(base / LOCK_FILE):
                return _place(whole, base, about, files, settle(base, trust), key)
    except (OSError, shutil.Error) as error:
        raise InfrastructureError(
            f"publishing to {base} failed: {error}",
            "free space or correct permissions, then run again: finished nodes are cached",
        ) from error


def prepare(
    folder: Path, about: Manifest, files: tuple[FileDigest, ...], key: SigningKey | None
) -> None:
    """Makes a version of a copied SavedModel: model card, manifest, signature.

    Args:
        folder: The copy; what an earlier attempt left there is replaced.
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
    """Copies a folder, links as what they point to; returns the digests of what was read."""
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
                    f"the model holds {relative}, a name that the serving directory gives itself",
                    "leave that file out of what run_fn exports",
                )
            shutil.copyfile(Path(parent, name), target / relative)
            digests.append(digest_file(Path(parent, name), relative))
    return tuple(sorted(digests, key=lambda digest: digest.path))


def next_version(base: Path, labels: Labels) -> int:
    """The number after the highest there is or ever was."""
    told = [change.version or 0 for change in labels.changes]
    return max([0, *list_versions(base), *told]) + 1


def sweep(base: Path) -> None:
    """Removes what dead publishers and removals left; the caller holds the publishers' lock.

    Whether a publisher lives is told by the lock it holds, not by age: a copy may take hours.
    """
    for folder in base.glob(f"{STAGING_PREFIX}*"):
        if not _is_owned(folder):
            shutil.rmtree(folder, ignore_errors=True)
    for folder in base.glob(f"{REMOVED_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _staging(base: Path) -> Iterator[Path]:
    """A hidden folder on the directory's own file system, marked as of a living process."""
    with locked(base / LOCK_FILE):
        sweep(base)
        staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=base))
        owner = os.open(staging / _OWNER_FILE, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(owner, fcntl.LOCK_EX)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        os.close(owner)


def _is_owned(staging: Path) -> bool:
    """Whether the publisher that made a staging folder still lives."""
    try:
        owner = os.open(staging / _OWNER_FILE, os.O_RDWR)
    except OSError:
        # Folder and mark are made under the lock that is held now: without mark, it was killed.
        return False
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(owner)
    return False


def _check_copy(copy: Path, files: tuple[FileDigest, ...]) -> None:
    """Reads the copy back and holds it against the digests of the source."""
    for file in files:
        path = copy / file.path
        _forget(path)
        if digest_file(path, file.path) != file:
            raise InfrastructureError(
                f"{file.path} reads back with another content than was copied",
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
    whole: Path,
    base: Path,
    about: Manifest,
    files: tuple[FileDigest, ...],
    labels: Labels,
    key: SigningKey | None,
) -> Path:
    """Gives a copied model its number, its manifest and its name; the lock is held."""
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    first = next_version(base, labels)
    for version in range(first, first + MAX_ATTEMPTS):
        known = replace(about, version=version, created=created, parent=labels.stable)
        prepare(whole, known, files, key)
        sync_tree(whole)
        if _rename_new(whole, base / str(version)):
            sync(base)
            return base / str(version)
    raise InfrastructureError(f"{base}: {MAX_ATTEMPTS} versions were taken by others meanwhile")


def _rename_new(source: Path, target: Path) -> bool:
    """Renames a folder to a name nobody has; False if somebody has it."""
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
