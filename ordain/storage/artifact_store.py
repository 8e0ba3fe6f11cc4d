"""Access to files of the workspace, through a shared store where tasks have no common file system.

A path in the workspace is a file. On one machine, and on a volume that all pods mount, nothing has
to be copied: that is the default, `Store`. Where pods share a bucket instead, the workspace of each
pod starts empty: artifacts are fetched before they are read and kept once they are written, and so
are single files (`ordain.storage.bucket_artifacts.RunBucket`).

Neither TFX nor TensorFlow is imported here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path

#: Folder in a pod of the workspaces that stand for buckets, each at a path that names its bucket.
#: It is fixed, and not the system's folder for temporary files, as paths have to be the same in
#: every pod; an image with a read-only root can still write here.
BUCKET_ROOT = Path("/tmp/ordain-gs")  # noqa: S108  mode 0700, and refused if another user owns it


class Store:
    """The default: all tasks see the same files, so nothing is copied.

    Every method of a subclass raises `InfrastructureError` if the store does not answer or refuses,
    if an artifact is incomplete or changed there, or if the workspace cannot be read or written.
    """

    def fetch(self, uri: str) -> None:
        """Downloads an artifact unless it is in the workspace; all of its files or none."""

    def has(self, uri: str) -> bool:
        """Returns True if an artifact is in the workspace or can be fetched."""
        return bool(uri) and Path(uri).exists()

    def is_missing(self, uri: str) -> bool:
        """Returns True if files are known not to exist, without a request to a store."""
        return not Path(uri).exists()

    def keep(self, uri: str) -> None:
        """Uploads an artifact; returns once all of its files are in the store."""

    def discard(self, uri: str) -> bool:
        """Removes an artifact from the store, complete or not; returns True if it had files."""
        return False

    def outputs_of(self, node: Path, execution_id: int) -> Iterable[Path]:
        """Lists folders below a node's folder that an execution may have left in the store."""
        return ()

    def pull(self, path: Path) -> None:
        """Downloads a file, or all files below a folder; they need not exist."""

    def push(self, path: Path) -> None:
        """Uploads a file, or all files below a folder; they need not exist."""


_LOCAL = Store()
_STORE: ContextVar[Store] = ContextVar("store", default=_LOCAL)


@contextlib.contextmanager
def use_store(store: Store) -> Iterator[None]:
    """Makes a store the current one while entered."""
    token = _STORE.set(store)
    try:
        yield
    finally:
        _STORE.reset(token)


def current() -> Store:
    """The store of `use_store`; the default one outside of it."""
    return _STORE.get()
