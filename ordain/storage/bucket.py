"""Files in a bucket that the pods of a run share, where no volume is mounted in all of them.

Every pod has the workspace at the same path below `BUCKET_ROOT`, so that URIs in ML Metadata are
valid in all of them; it starts empty and ends with the pod. A file of the workspace is an object in
the bucket under the same relative name.

This module has the transfers, and pulls and pushes small files that change, such as a log or
`result.json`. `ordain.storage.bucket_artifacts` has the format of artifacts. Google's client
verifies the checksum (CRC32C) of every transfer and repeats one that was interrupted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from ordain.errors import InfrastructureError
from ordain.storage.artifact_store import BUCKET_ROOT
from ordain.storage.gcs import SCHEME, named_errors, open_bucket

#: Parallel transfers: as many as the client keeps connections.
_TRANSFERS = 8
#: Seconds for which a failed request is repeated.
PATIENCE_S = 120.0
T = TypeVar("T")


def workspace_of(address: str) -> Path:
    """The pods' folder for an address: `gs://bucket/folder` is `/tmp/ordain-gs/bucket/folder`.

    Raises:
        InfrastructureError: `BUCKET_ROOT` cannot be made, or belongs to another user.
    """
    try:
        BUCKET_ROOT.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = BUCKET_ROOT.stat().st_uid
    except OSError as error:
        raise InfrastructureError(
            f"{BUCKET_ROOT} cannot be made: {error.strerror}",
            "with a read-only root file system mount an emptyDir at /tmp (docs/kubeflow.md)",
        ) from error
    # A volume that is mounted there belongs to root.
    if owner not in (0, os.geteuid()):
        raise InfrastructureError(
            f"{BUCKET_ROOT} belongs to user {owner}, not to this one", f"rm -r {BUCKET_ROOT}"
        )
    return BUCKET_ROOT / PurePosixPath(address.removeprefix(SCHEME))


def address_of(path: Path) -> str:
    """The address of a path below `BUCKET_ROOT`."""
    return SCHEME + path.relative_to(BUCKET_ROOT).as_posix()


class Bucket:
    """Copies files between a pod's workspace and the bucket of its pipeline root.

    Every method raises `InfrastructureError`, with the address, if the store does not answer or
    refuses, and with the path if the workspace cannot be written.
    """

    def __init__(self, workspace: Path) -> None:
        """Does not connect yet.

        Args:
            workspace: The pod's folder from `workspace_of`, or a path in it.
        """
        self._workspace = workspace
        self._pulled: set[Path] = set()

    @cached_property
    def _client(self) -> Any:
        return open_bucket(address_of(self._workspace))[0].client

    @cached_property
    def _options(self) -> dict[str, Any]:
        """Options of every request; uploads may be repeated, as their names have one writer."""
        from google.cloud.storage.retry import DEFAULT_RETRY  # noqa: PLC0415  slow to import

        return {"retry": DEFAULT_RETRY.with_timeout(PATIENCE_S)}

    def pull(self, path: Path) -> None:
        """Downloads a file, or all files below a folder; they need not exist.

        Args:
            path: Its path in the workspace.
        """
        names = self.find(path)
        in_parallel(self._replace, names)
        self._pulled |= set(names)

    def push(self, path: Path) -> None:
        """Uploads a file, or all files below a folder.

        A file that was pulled or pushed before and is deleted here is removed from the bucket;
        nothing else is.

        Args:
            path: Its path in the workspace.
        """
        here = {p for p in (path, *path.rglob("*")) if p.is_file()}
        in_parallel(self.upload, here)
        gone = {p for p in self._pulled if p == path or p.is_relative_to(path)} - here
        self.remove(gone)
        self._pulled = (self._pulled | here) - gone

    def find(self, path: Path) -> list[Path]:
        """Lists the objects at a path or below it."""
        with self._object(path) as (bucket, name):
            blobs = [*self._client.list_blobs(bucket, prefix=name, **self._options)]
        found = [BUCKET_ROOT / bucket.name / blob.name for blob in blobs]
        # `logs/A` is a prefix of `logs/AB` too.
        return [p for p in found if p == path or p.is_relative_to(path)]

    def folders(self, path: Path) -> list[Path]:
        """Lists the folders in the bucket directly below a path."""
        with self._object(path) as (bucket, name):
            found = self._client.list_blobs(
                bucket, prefix=f"{name}/", delimiter="/", **self._options
            )
            for _ in found:  # prefixes are filled in as pages are read
                pass
        return sorted(BUCKET_ROOT / bucket.name / prefix for prefix in found.prefixes)

    def upload(self, path: Path) -> None:
        """Uploads one file."""
        with self._object(path) as (bucket, name):
            bucket.blob(name).upload_from_filename(path, checksum="crc32c", **self._options)

    def write(self, path: Path, text: str) -> None:
        """Uploads a text, without a file in the workspace."""
        with self._object(path) as (bucket, name):
            bucket.blob(name).upload_from_string(text, checksum="crc32c", **self._options)

    def read(self, path: Path, most_bytes: int) -> bytes | None:
        """Returns the content of an object; None if it does not exist."""
        with self._object(path) as (bucket, name):
            blob = bucket.get_blob(name, **self._options)
            if blob is None:
                return None
            if blob.size > most_bytes:
                raise InfrastructureError(f"{address_of(path)} is larger than {most_bytes} bytes")
            return bytes(blob.download_as_bytes(checksum="crc32c", **self._options))

    def download(self, path: Path, to: Path) -> None:
        """Downloads one object to a path whose folder exists."""
        with self._object(path) as (bucket, name):
            bucket.blob(name).download_to_filename(to, checksum="crc32c", **self._options)

    def remove(self, paths: Iterable[Path]) -> int:
        """Removes the objects at these paths, not below them; returns how many there were."""
        from google.api_core import exceptions  # noqa: PLC0415  slow to import

        removed = 0
        for path in paths:
            with self._object(path) as (bucket, name):
                try:
                    bucket.blob(name).delete(**self._options)
                except exceptions.NotFound:
                    continue
            removed += 1
        return removed

    @contextlib.contextmanager
    def _object(self, path: Path) -> Iterator[tuple[Any, str]]:
        """The bucket and the name of the object at a path; errors inside name its address."""
        bucket, _, name = path.relative_to(BUCKET_ROOT).as_posix().partition("/")
        with named_errors(address_of(path)):
            yield self._client.bucket(bucket), name

    def _replace(self, path: Path) -> None:
        """Downloads one object to its own path with one rename."""
        staged = staging_path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.download(path, staged)
            staged.replace(path)
        except OSError as error:
            raise unwritable(path, error) from error
        finally:
            staged.unlink(missing_ok=True)


def in_parallel(work: Callable[[T], None], items: Iterable[T]) -> None:
    """Calls a function for each item in a few threads; the first error ends it."""
    pool = ThreadPoolExecutor(_TRANSFERS, thread_name_prefix="ordain-bucket")
    try:
        for _ in pool.map(work, items):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def staging_path(path: Path) -> Path:
    """The path under which a file or folder is made before it is renamed."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def unwritable(path: Path, error: OSError) -> InfrastructureError:
    """The error of a workspace that cannot be written."""
    return InfrastructureError(
        f"{path} cannot be written: {error.strerror}",
        "give the pods more ephemeral storage, or mount a volume that has it at /tmp",
    )
