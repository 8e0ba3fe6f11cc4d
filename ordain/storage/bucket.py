"""A bucket as what the pods of a run share, where there is no volume that all of them mount.

Every pod has the workspace at the same path, below `PLACE`, so that the URIs in ML Metadata mean
the same in all of them; it begins empty and goes with the pod. What lies at a path of the workspace
lies in the bucket under the same relative name.

Here are the transfers, and small files that change, such as a log or `result.json`, which are
pulled and pushed by their path. What an artifact is in a bucket is
`ordain.storage.bucket_artifacts`'. Google's client compares checksums (CRC32C) of every transfer
with the store, and repeats what a network cut.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from ordain.errors import InfrastructureError
from ordain.storage.artifact_store import PLACE
from ordain.storage.gcs import SCHEME, named_errors, open_bucket

#: Transfers at once: as many as the client keeps connections.
_TRANSFERS = 8
#: Seconds for which a request that the network or the store failed is tried again.
PATIENCE_S = 120.0
T = TypeVar("T")


def workspace_of(address: str) -> Path:
    """The pods' own folder for an address: `gs://bucket/folder` is `/tmp/ordain-gs/bucket/folder`.

    Raises:
        InfrastructureError: `PLACE` cannot be made, or belongs to another user.
    """
    try:
        PLACE.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = PLACE.stat().st_uid
    except OSError as error:
        raise InfrastructureError(
            f"{PLACE} cannot be made: {error.strerror}",
            "with a read-only root file system mount an emptyDir at /tmp (docs/kubeflow.md)",
        ) from error
    # The root's own is a volume that is mounted there.
    if owner not in (0, os.geteuid()):
        raise InfrastructureError(
            f"{PLACE} belongs to user {owner}: what lies there is not ours", f"rm -r {PLACE}"
        )
    return PLACE / PurePosixPath(address.removeprefix(SCHEME))


def address_of(path: Path) -> str:
    """The address of a path below `PLACE`."""
    return SCHEME + path.relative_to(PLACE).as_posix()


class Bucket:
    """Moves files between a pod's workspace and the bucket of its pipeline root.

    Every method raises `InfrastructureError`, with the address, if the store does not answer or
    refuses, and with the path if the workspace cannot be written.
    """

    def __init__(self, workspace: Path) -> None:
        """Asks nothing of the store.

        Args:
            workspace: The pod's own folder, as `workspace_of` names it, or a path in it.
        """
        self._workspace = workspace
        self._pulled: set[Path] = set()

    @cached_property
    def _client(self) -> Any:
        return open_bucket(address_of(self._workspace))[0].client

    @cached_property
    def _options(self) -> dict[str, Any]:
        """Of every request. Uploads may be repeated, as nobody else writes under their names."""
        from google.cloud.storage.retry import DEFAULT_RETRY  # noqa: PLC0415  slow to import

        return {"retry": DEFAULT_RETRY.with_timeout(PATIENCE_S)}

    def pull(self, path: Path) -> None:
        """Brings a file, or all files below a folder, as they are in the bucket; none is no error.

        Args:
            path: Where it is in the workspace.
        """
        names = self.find(path)
        at_once(self._replace, names)
        self._pulled |= set(names)

    def push(self, path: Path) -> None:
        """Takes a file, or all files below a folder, to the bucket.

        What was pulled and is no more here is removed there, and nothing else.

        Args:
            path: Where it is in the workspace.
        """
        here = {p for p in (path, *path.rglob("*")) if p.is_file()}
        at_once(self.upload, here)
        gone = {p for p in self._pulled if p == path or p.is_relative_to(path)} - here
        self.remove(gone)
        self._pulled = (self._pulled | here) - gone

    def find(self, path: Path) -> list[Path]:
        """What is in the bucket at a path or below it."""
        bucket, name = self._place(path)
        with named_errors(address_of(path)):
            blobs = [*self._client.list_blobs(bucket, prefix=name, **self._options)]
        found = [PLACE / bucket.name / blob.name for blob in blobs]
        # `logs/A` is a prefix of `logs/AB` too.
        return [p for p in found if p == path or p.is_relative_to(path)]

    def folders(self, path: Path) -> list[Path]:
        """Folders in the bucket right below a path."""
        bucket, name = self._place(path)
        with named_errors(address_of(path)):
            found = self._client.list_blobs(
                bucket, prefix=f"{name}/", delimiter="/", **self._options
            )
            for _ in found:  # the folders come with the pages
                pass
        return sorted(PLACE / bucket.name / prefix for prefix in found.prefixes)

    def upload(self, path: Path) -> None:
        """Takes one file to the bucket."""
        bucket, name = self._place(path)
        with named_errors(address_of(path)):
            bucket.blob(name).upload_from_filename(path, checksum="crc32c", **self._options)

    def write(self, path: Path, text: str) -> None:
        """Writes a text to the bucket that has no file here."""
        bucket, name = self._place(path)
        with named_errors(address_of(path)):
            bucket.blob(name).upload_from_string(text, checksum="crc32c", **self._options)

    def read(self, path: Path, most_bytes: int) -> bytes | None:
        """What is in the bucket at a path; None if nothing is."""
        bucket, name = self._place(path)
        with named_errors(address_of(path)):
            blob = bucket.get_blob(name, **self._options)
            if blob is None:
                return None
            if blob.size > most_bytes:
                raise InfrastructureError(f"{address_of(path)} is larger than {most_bytes} bytes")
            return bytes(blob.download_as_bytes(checksum="crc32c", **self._options))

    def download(self, path: Path, to: Path) -> None:
        """Brings one file of the bucket to a place in the workspace, whose folder is there."""
        bucket, name = self._place(path)
        with named_errors(address_of(path)):
            bucket.blob(name).download_to_filename(to, checksum="crc32c", **self._options)

    def remove(self, paths: Iterable[Path]) -> int:
        """Removes what is in the bucket at these paths, and not below them; how many there were."""
        from google.api_core import exceptions  # noqa: PLC0415  slow to import

        removed = 0
        for path in paths:
            bucket, name = self._place(path)
            with named_errors(address_of(path)):
                try:
                    bucket.blob(name).delete(**self._options)
                except exceptions.NotFound:
                    continue
            removed += 1
        return removed

    def _place(self, path: Path) -> tuple[Any, str]:
        """The bucket, and the name of the object that stands for a path."""
        bucket, _, name = path.relative_to(PLACE).as_posix().partition("/")
        return self._client.bucket(bucket), name

    def _replace(self, path: Path) -> None:
        """Brings one file to its own path, whole or not at all."""
        staged = staged_beside(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.download(path, staged)
            staged.replace(path)
        except OSError as error:
            raise unwritable(path, error) from error
        finally:
            staged.unlink(missing_ok=True)


def at_once(work: Callable[[T], None], items: Iterable[T]) -> None:
    """Does a piece of work for each item, several at once; the first error ends it."""
    pool = ThreadPoolExecutor(_TRANSFERS, thread_name_prefix="ordain-bucket")
    try:
        for _ in pool.map(work, items):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def staged_beside(path: Path) -> Path:
    """Where something is made before it is renamed to its path."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def unwritable(path: Path, error: OSError) -> InfrastructureError:
    """The error of a workspace that takes nothing."""
    return InfrastructureError(
        f"{path} cannot be written: {error.strerror}",
        "give the pods more ephemeral storage, or mount a volume that has it at /tmp",
    )
