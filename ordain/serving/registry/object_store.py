"""Publishing to an object store (`gs://bucket/folder`), which knows no rename.

There a version is what has a manifest: the files are uploaded first and `manifest.json` last, so
a push that ends half-way leaves objects and no version. A number is taken by creating a marker
that must not exist (`if_generation_match=0`), so two publishers never write below the same one.
Every upload's checksum is computed on both sides.

Labels, rollback and pruning are for local and mounted directories; here versions are all there is.
"""

from __future__ import annotations

import datetime
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ordain.errors import InfrastructureError
from ordain.serving.registry.directory import copy_tree, prepare
from ordain.serving.registry.manifest import MANIFEST_FILE, SIGNATURE_FILE, Manifest
from ordain.serving.registry.trust import SigningKey
from ordain.serving.registry.verification import MAX_MANIFEST_BYTES
from ordain.storage.gcs import SCHEME, named_errors, open_bucket

#: Folder of the markers; hidden, so that no reader takes it for a version.
CLAIMS = ".claims"
MAX_ATTEMPTS = 100
_VERSION = re.compile(r"(?:\.claims/)?([1-9]\d*)(?:/(.+))?")


def list_object_versions(address: str) -> list[int]:
    """Versions at an address, oldest first: numbers below which there is a manifest.

    Raises:
        InfrastructureError: The store does not answer.
    """
    return _listed(*open_bucket(address))[0]


def read_object_manifest(address: str) -> bytes:
    """The manifest of a version, as its bytes.

    Args:
        address: The version's own, `gs://bucket/folder/<version>`.

    Raises:
        InfrastructureError: The store does not answer, there is none, or it is too large.
    """
    bucket, prefix = open_bucket(address)
    with named_errors(f"{address}/{MANIFEST_FILE}"):
        blob = bucket.get_blob(prefix + MANIFEST_FILE)
        if blob is None or blob.size > MAX_MANIFEST_BYTES:
            raise InfrastructureError(f"{address} holds no {MANIFEST_FILE} of a version")
        return bytes(blob.download_as_bytes(checksum="crc32c"))


def check_object_version(address: str) -> list[str]:
    """Holds the objects of a version against its manifest, by name and size.

    Returns:
        One sentence for each object that is missing or of another size.

    Raises:
        InfrastructureError: The store does not answer, or the manifest is damaged.
    """
    bucket, prefix = open_bucket(address)
    files = _manifest(address).files
    with named_errors(address):
        found = {
            blob.name.removeprefix(prefix): blob.size
            for blob in bucket.client.list_blobs(bucket.name, prefix=prefix)
        }
    problems = [f"{file.path} is missing" for file in files if file.path not in found]
    problems += [
        f"{file.path} has {found[file.path]} bytes, not {file.size_bytes}"
        for file in files
        if found.get(file.path, file.size_bytes) != file.size_bytes
    ]
    return problems


def fetch_object_version(address: str, folder: Path) -> None:
    """Downloads what the manifest of a version lists, the manifest and its signature.

    Nothing is held against the digests here: `ordain.serving.registry.verification.verify` does
    that.

    Args:
        address: The version's own, `gs://bucket/folder/<version>`.
        folder: Where to; made here.

    Raises:
        InfrastructureError: The store does not answer, an object is missing or of another size
            than listed, or the manifest is damaged.
        OSError: The folder cannot be written.
    """
    problems = check_object_version(address)
    if problems:
        raise InfrastructureError(f"{address}: {problems[0]}")
    bucket, prefix = open_bucket(address)
    names = [MANIFEST_FILE, *(file.path for file in _manifest(address).files)]
    with named_errors(address):
        if bucket.get_blob(prefix + SIGNATURE_FILE) is not None:
            names.append(SIGNATURE_FILE)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            bucket.blob(prefix + name).download_to_filename(folder / name, checksum="crc32c")


def _manifest(address: str) -> Manifest:
    try:
        return Manifest.from_json(read_object_manifest(address).decode("utf-8"))
    except (UnicodeDecodeError, InfrastructureError) as error:
        raise InfrastructureError(f"{address}/{MANIFEST_FILE}: {error}") from error


def publish_objects(
    model: str | Path,
    address: str,
    about: Manifest,
    key: SigningKey | None = None,
    check: Callable[[Path], None] | None = None,
) -> str:
    """Uploads a SavedModel as the next version at an address.

    Args:
        model: Folder of the SavedModel.
        address: `gs://bucket/folder`.
        about: What is known of the model, as for `ordain.serving.registry.directory.publish`.
        key: Signs the version; None leaves it unsigned.
        check: Looks at the copy before it is uploaded, and raises if it must not be.

    Returns:
        The version's own address, `gs://bucket/folder/<version>`.

    Raises:
        InfrastructureError: The store does not answer, or refuses.
        ConfigError: The key cannot be used.
    """
    bucket, prefix = open_bucket(address)
    try:
        with tempfile.TemporaryDirectory(prefix="ordain-push-") as temporary:
            folder = Path(temporary, "version")
            files = copy_tree(Path(model), folder)
            if check is not None:
                check(folder)
            whole, told = _listed(bucket, prefix)
            version = _claim(bucket, prefix, max([0, *told]) + 1)
            created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            parent = whole[-1] if whole else None
            known = replace(about, version=version, created=created, parent=parent)
            prepare(folder, known, files, key)
            _upload(bucket, f"{prefix}{version}/", folder)
            return f"{address.rstrip('/')}/{version}"
    except OSError as error:
        raise InfrastructureError(
            f"publishing to {address} failed: {error}", "free space, then run again"
        ) from error


def _upload(bucket: Any, prefix: str, folder: Path) -> None:
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    names.remove(MANIFEST_FILE)
    for name in (*names, MANIFEST_FILE):
        # The number was claimed: an object that is there already is not ours.
        with named_errors(f"{SCHEME}{bucket.name}/{prefix}{name}"):
            bucket.blob(prefix + name).upload_from_filename(
                folder / name, checksum="crc32c", if_generation_match=0
            )


def _claim(bucket: Any, prefix: str, first: int) -> int:
    from google.api_core import exceptions  # noqa: PLC0415  slow to import

    for version in range(first, first + MAX_ATTEMPTS):
        name = f"{prefix}{CLAIMS}/{version}"
        with named_errors(f"{SCHEME}{bucket.name}/{name}"):
            try:
                bucket.blob(name).upload_from_string(b"", if_generation_match=0)
            except exceptions.PreconditionFailed:
                continue
            return version
    raise InfrastructureError(f"{MAX_ATTEMPTS} versions were taken by others meanwhile")


def _listed(bucket: Any, prefix: str) -> tuple[list[int], list[int]]:
    """Versions that have a manifest, and every number that is taken."""
    whole, told = set(), set()
    with named_errors(f"{SCHEME}{bucket.name}/{prefix}"):
        for blob in bucket.client.list_blobs(bucket.name, prefix=prefix or None):
            match = _VERSION.fullmatch(blob.name.removeprefix(prefix))
            if match is None:
                continue
            told.add(int(match[1]))
            if match[2] == MANIFEST_FILE:
                whole.add(int(match[1]))
    return sorted(whole), sorted(told)
