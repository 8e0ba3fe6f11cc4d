"""Files that the tasks of a run share, where they have no file system in common.

A path in the workspace is a file. On one machine, and on a volume that all pods mount, whoever
writes it is done, and whoever reads it finds it. Where pods share a bucket instead, each pod's
workspace begins empty: artifacts are fetched before they are read and kept once they are written,
and so are single files. By default nothing is moved. Neither TFX nor TensorFlow is imported
here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol


class Store(Protocol):
    """What the tasks share instead of a file system.

    Every method raises `InfrastructureError` if the store does not answer or refuses.
    """

    def fetch(self, uri: str) -> None:
        """Brings an artifact's files here, unless they are; all of them or none."""

    def has(self, uri: str) -> bool:
        """Whether an artifact's files are here, or can be fetched."""

    def keep(self, uri: str) -> None:
        """Takes an artifact's files to the store; returns when all of them are there."""

    def discard(self, uri: str) -> bool:
        """Removes an artifact's files from the store, whole or not; says whether there were any."""

    def outputs_of(self, node: Path, execution_id: int) -> Iterable[Path]:
        """Folders below a node's that an execution may have left in the store."""

    def pull(self, path: Path) -> None:
        """Brings a file, or all below a folder, as the store has it; it need not be there."""

    def push(self, path: Path) -> None:
        """Takes a file, or all below a folder, to the store; it need not be there."""


#: A bucket's workspace in a pod is below it, at a path that says which bucket it stands for. Not
#: the system's folder of the moment: it has to be the same in every pod. The image, which may be
#: read-only otherwise, can write here.
PLACE = Path("/tmp/ordain-gs")  # noqa: S108  made with mode 0700, and refused if it is another user's

_STORE: ContextVar[Store | None] = ContextVar("store", default=None)


@contextlib.contextmanager
def shared_through(store: Store) -> Iterator[None]:
    """Names the store that the functions below go to while entered."""
    token = _STORE.set(store)
    try:
        yield
    finally:
        _STORE.reset(token)


def fetch(uri: str) -> None:
    """See `Store.fetch`."""
    store = _STORE.get()
    if store is not None:
        store.fetch(uri)


def has(uri: str) -> bool:
    """See `Store.has`; by default, whether they are in the workspace."""
    store = _STORE.get()
    return store.has(uri) if store is not None else bool(uri) and Path(uri).exists()


def is_gone(uri: str) -> bool:
    """True if an artifact's files are known not to be in the workspace; asks no store."""
    return _STORE.get() is None and not Path(uri).exists()


def keep(uri: str) -> None:
    """See `Store.keep`."""
    store = _STORE.get()
    if store is not None:
        store.keep(uri)


def discard(uri: str) -> bool:
    """See `Store.discard`."""
    store = _STORE.get()
    return store.discard(uri) if store is not None else False


def outputs_of(node: Path, execution_id: int) -> Iterable[Path]:
    """See `Store.outputs_of`."""
    store = _STORE.get()
    return store.outputs_of(node, execution_id) if store is not None else ()


def pull(path: Path) -> None:
    """See `Store.pull`."""
    store = _STORE.get()
    if store is not None:
        store.pull(path)


def push(path: Path) -> None:
    """See `Store.push`."""
    store = _STORE.get()
    if store is not None:
        store.push(path)
