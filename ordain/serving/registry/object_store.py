"""Publishes to an object store (`gs://bucket/folder`), which has no atomic rename.

A version exists once it has a manifest: `manifest.json` is uploaded last, so an interrupted push
leaves objects but no version. A number is claimed by creating a marker that must not exist
(`if_generation_match=0`), so two publishers never write to the same version. Checksums of uploads
are verified on both sides.

Labels, rollback and pruning need a local or mounted directory; an object store has versions only.
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

#: Hidden folder of the markers.
CLAIMS = ".claims"
MAX_ATTEMPTS = 100
_VERSION = re.compile(r"(?:\.claims/)?([1-9]\d*)(?:/(.+))?")


def list_object_versions(address: str) -> list[int]:
    """Lists the versions at an address, oldest first: numbers with a manifest.

    Raises:
        InfrastructureError: The store does not respond.
    """
    return _listed(*open_bucket(address))[0]


def read_object_manifest(address: str) -> bytes:
    """Reads the bytes of a version's manifest.

    Args:
        address: The version's address, `gs://bucket/folder/<version>`.

    Raises:
        InfrastructureError: The store does not respond, or the manifest is missing or too large.
    """
    bucket, prefix = open_bucket(address)
    with named_errors(f"{address}/{MANIFEST_FILE}"):
        blob = bucket.get_blob(prefix + MANIFEST_FILE)
        if blob is None or blob.size > MAX_MANIFEST_BYTES:
            raise InfrastructureError(f"{address} has no {MANIFEST_FILE} of a version")
        return bytes(blob.download_as_bytes(checksum="crc32c"))


def check_object_version(address: str) -> list[str]:
    """Checks the objects of a version against its manifest, by name and size.

    Returns:
        One sentence for each object that is missing or has another size.

    Raises:
        InfrastructureError: The store does not respond, or the manifest is damaged.
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
    """Downloads the files of a version's manifest, the manifest and its signature.

    Digests are not checked here, see `ordain.serving.registry.verification.verify`.

    Args:
        address: The version's address, `gs://bucket/folder/<version>`.
        folder: Target folder; created here.

    Raises:
        InfrastructureError: The store does not respond, an object is missing or has another size
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
        return Manifest.from_json(read_object_manifest(address))
    except InfrastructureError as error:
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
        about: The manifest, as for `ordain.serving.registry.directory.publish`.
        key: Signs the version; None leaves it unsigned.
        check: Checks the copy before the upload, and raises if it must not be published.

    Returns:
        The version's address, `gs://bucket/folder/<version>`.

    Raises:
        InfrastructureError: The store does not respond, or rejects the upload.
        ConfigError: The key cannot be used.
    """
    bucket, prefix = open_bucket(address)
    try:
        with tempfile.TemporaryDirectory(prefix="ordain-push-") as temporary:
            folder = Path(temporary, "version")
            files = copy_tree(Path(model), folder)
            if check is not None:
                check(folder)
            published, taken = _listed(bucket, prefix)
            version = _claim(bucket, prefix, max([0, *taken]) + 1)
            created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            parent = published[-1] if published else None
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
        # The number was claimed, so an existing object is an error.
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
    raise InfrastructureError(f"no free version number in {MAX_ATTEMPTS} attempts")


def _listed(bucket: Any, prefix: str) -> tuple[list[int], list[int]]:
    """Versions that have a manifest, and all numbers that are taken."""
    published, taken = set(), set()
    with named_errors(f"{SCHEME}{bucket.name}/{prefix}"):
        for blob in bucket.client.list_blobs(bucket.name, prefix=prefix or None):
            match = _VERSION.fullmatch(blob.name.removeprefix(prefix))
            if match is None:
                continue
            taken.add(int(match[1]))
            if match[2] == MANIFEST_FILE:
                published.add(int(match[1]))
    return sorted(published), sorted(taken)
