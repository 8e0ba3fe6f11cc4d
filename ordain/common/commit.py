"""The commit protocol of all writers: a retried, doubled or killed piece of work gives one result.

A runner may do a piece of work (an element of a Beam pipeline) more than once: it restarts what a
dead worker had in hand, and some run a slow piece twice at the same time. A worker that was given
up may still be writing then. Hence no worker writes under a name that a reader knows:

1. `Staging` makes one temporary folder, `<root>/.temp/<token>`, for each attempt at an execution,
   and removes what earlier attempts left in the root.
2. Each attempt at a piece writes files of its own there (`Staging.new_path`), and names them in its
   result. What no completed piece names was written by an attempt that did not count.
3. The process that drives the work takes one result for each piece (`one_each`).
4. `Staging.commit` gives the files of those results their final names, checks that they are what
   their writers counted, and lists them in `committed.json`, last of all. The rest is removed.
5. Readers take what is listed there (`list_committed`).

Neither TFX nor TensorFlow is imported here: files are reached through a `Files`.
"""

from __future__ import annotations

import json
import logging
import pickle
import re
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ordain.errors import InfrastructureError, NodeFailedError

#: The list of committed files, in the root of what was committed.
COMMITTED_FILE = "committed.json"
_TEMPORARY = ".temp"
#: Beam's and TFX's name for a shard: which, of how many.
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?:\.[a-z]+)*$")
_log = logging.getLogger(__name__)


class Files(Protocol):
    """Files by path, local or in an object store."""

    def names(self, folder: str) -> list[str]:
        """Names of the files and folders in a folder, sorted; none if there is no such folder."""

    def make_folder(self, path: str) -> None:
        """Makes a folder and those above it, unless they are there."""

    def remove(self, path: str) -> None:
        """Removes a file, or a folder with all that is in it; it need not be there."""

    def move(self, source: str, target: str) -> None:
        """Renames a file, over another one if need be.

        Raises:
            FileNotFoundError: There is no such file.
        """

    def size(self, path: str) -> int | None:
        """A file's bytes; None if it is not there."""

    def read(self, path: str) -> bytes:
        """A file's content."""

    def write(self, path: str, content: bytes) -> None:
        """Writes a file; its folder has to be there."""


class LocalFiles:
    """`Files` of this machine."""

    def names(self, folder: str) -> list[str]:
        """See `Files.names`."""
        path = Path(folder)
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []

    def make_folder(self, path: str) -> None:
        """See `Files.make_folder`."""
        Path(path).mkdir(parents=True, exist_ok=True)

    def remove(self, path: str) -> None:
        """See `Files.remove`."""
        entry = Path(path)
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)

    def move(self, source: str, target: str) -> None:
        """See `Files.move`."""
        Path(source).replace(target)

    def size(self, path: str) -> int | None:
        """See `Files.size`."""
        entry = Path(path)
        return entry.stat().st_size if entry.is_file() else None

    def read(self, path: str) -> bytes:
        """See `Files.read`."""
        return Path(path).read_bytes()

    def write(self, path: str, content: bytes) -> None:
        """See `Files.write`."""
        Path(path).write_bytes(content)


@dataclass(frozen=True)
class Written:
    """A file that an attempt has written and closed.

    Attributes:
        path: Where it is staged.
        rows: Rows that the writer counted.
        size_bytes: Size of the file once it was closed.
    """

    path: str
    rows: int
    size_bytes: int


class Staging:
    """The temporary folder of one attempt at an execution; workers get it by pickling.

    While entered the folder is there. Only the driving process enters, commits and leaves.
    """

    def __init__(self, root: str, files: Files) -> None:
        """Takes where the outputs go.

        Args:
            root: Folder that belongs to the execution alone: what is in it on entry is removed.
            files: Reaches the root, from every worker too.
        """
        self._root = root
        self._files = files
        self.folder = f"{root}/{_TEMPORARY}/{uuid.uuid4().hex}"

    def __enter__(self) -> Staging:
        """Removes what earlier attempts left, and makes the folder."""
        self._clear(self._root)
        self._files.make_folder(self.folder)
        return self

    def __exit__(self, *error: object) -> None:
        """Removes the folder with all that was not committed."""
        del error
        try:
            self._files.remove(f"{self._root}/{_TEMPORARY}")
        except OSError as reason:  # a worker that was given up writes into it at this moment
            _log.warning("%s/%s is left behind: %s", self._root, _TEMPORARY, reason)

    def new_path(self, suffix: str = "") -> str:
        """A path in the folder that no other attempt at any piece has."""
        return f"{self.folder}/{uuid.uuid4().hex}{suffix}"

    def written(self, path: str, rows: int) -> Written:
        """Describes a file once it is closed."""
        size = self._files.size(path)
        if size is None:
            raise NodeFailedError(f"{path} was removed while it was written")
        return Written(path, rows, size)

    def keep_results(self, results: Iterable[Any], name: str) -> None:
        """Leaves the results of a pipeline for the driving process, in one step.

        Whoever does so last wins: each attempt's results name files that are all there.
        """
        path = self.new_path()
        self._files.write(path, pickle.dumps(list(results)))
        self._files.move(path, f"{self.folder}/{name}")

    def results(self, name: str) -> list[Any]:
        """Reads the results that `keep_results` left.

        Raises:
            NodeFailedError: The pipeline ended without leaving any.
        """
        if self._files.size(f"{self.folder}/{name}") is None:
            raise NodeFailedError(
                f"the Beam pipeline ended, but left no results in {self.folder}",
                "its workers have to reach the workspace under the path that it has here",
            )
        content = self._files.read(f"{self.folder}/{name}")
        return list(pickle.loads(content))  # noqa: S301 - our own worker wrote it

    def commit(self, uri: str, folders: Mapping[str, Mapping[str, Written]]) -> None:
        """Gives files their final names; `committed.json`, which lists them, appears last.

        Args:
            uri: Folder of the artifact. All that an earlier attempt left in it is removed.
            folders: Files by name, by their folder in the artifact; an empty name stands for the
                artifact's own.

        Raises:
            NodeFailedError: A file is not there, or not as it was when its writer closed it.
        """
        self._clear(uri, kept=_TEMPORARY if uri == self._root else "")
        for folder, content in folders.items():
            place = f"{uri}/{folder}" if folder else uri
            self._files.make_folder(place)
            for name, written in content.items():
                self._move(written, f"{place}/{name}")
        listed = {
            folder: {name: {"rows": w.rows, "bytes": w.size_bytes} for name, w in content.items()}
            for folder, content in folders.items()
        }
        path = self.new_path()
        self._files.write(path, json.dumps(listed, indent=1, sort_keys=True).encode())
        self._files.move(path, f"{uri}/{COMMITTED_FILE}")

    def _clear(self, uri: str, kept: str = "") -> None:
        """Removes what earlier attempts left in a folder, what says that it is whole first."""
        self._files.remove(f"{uri}/{COMMITTED_FILE}")
        for name in self._files.names(uri):
            if name != kept:
                self._files.remove(f"{uri}/{name}")

    def _move(self, written: Written, target: str) -> None:
        try:
            self._files.move(written.path, target)
        except FileNotFoundError as error:
            raise NodeFailedError(
                f"{target}: the file that was written for it, {written.path}, is gone"
            ) from error
        size = self._files.size(target)
        if size != written.size_bytes:
            raise NodeFailedError(
                f"{target}: has {size} bytes and had {written.size_bytes} when its writer closed it"
            )


def one_each(results: Iterable[tuple[int, Any]], count: int) -> list[Any]:
    """One result for each piece, whatever was done twice, in the order of the pieces.

    Args:
        results: Number of the piece and its result, in any order.
        count: How many pieces there are.

    Raises:
        NodeFailedError: A piece has no result.
    """
    chosen: dict[int, Any] = {}
    for number, result in results:
        chosen.setdefault(number, result)
    missing = sorted(set(range(count)) - chosen.keys())
    if missing:
        raise NodeFailedError(
            f"{len(missing)} of {count} pieces of work came to no result: the first is "
            f"number {missing[0]}",
            "run again: what is finished is cached",
        )
    return [chosen[number] for number in range(count)]


@dataclass(frozen=True)
class Listing:
    """The content of one folder of an artifact.

    Attributes:
        paths: Files that were committed, sorted by name.
        strays: Names of what lies beside them and was not.
    """

    paths: tuple[str, ...]
    strays: tuple[str, ...]


def list_committed(folder: str, files: Files) -> Listing:
    """The files of a folder that a reader may take.

    An artifact without `committed.json`, left by a component that is not ours, has its shards
    (`-00000-of-00002`) or, if it has none, whatever is not hidden.

    Args:
        folder: A folder of an artifact, such as a split's.
        files: Reaches it.

    Raises:
        InfrastructureError: A file is missing or has another size, or shards are no whole set.
    """
    uri, _, name = folder.rstrip("/").rpartition("/")
    present = files.names(folder)
    advice = "ordain run PROJECT --from ExampleGen --no-cache makes the artifacts anew"
    if files.size(f"{uri}/{COMMITTED_FILE}") is not None:
        listed = json.loads(files.read(f"{uri}/{COMMITTED_FILE}")).get(name, {})
        for file, facts in listed.items():
            size = files.size(f"{folder}/{file}")
            if size != facts["bytes"]:
                found = "is missing" if size is None else f"has {size} bytes"
                raise InfrastructureError(
                    f"{folder}/{file}: {found}; {facts['bytes']} bytes were committed", advice
                )
        taken = sorted(listed)
    else:
        visible = [file for file in present if not file.startswith((".", "_"))]
        taken = [file for file in visible if _SHARD.search(file)] or visible
        _require_whole(folder, taken, advice)
    strays = tuple(file for file in present if file not in taken)
    return Listing(tuple(f"{folder}/{file}" for file in taken), strays)


def _require_whole(folder: str, names: Sequence[str], advice: str) -> None:
    """Refuses shards of two attempts, and a set with one missing."""
    found = [match for name in names if (match := _SHARD.search(name))]
    by_base: dict[str, list[tuple[int, int]]] = {}
    for match in found:
        base = match.string[: match.start()]
        by_base.setdefault(base, []).append((int(match[1]), int(match[2])))
    for base, shards in by_base.items():
        if sorted(shards) != [(number, len(shards)) for number in range(len(shards))]:
            had = ", ".join(f"{number} of {count}" for number, count in sorted(shards))
            raise InfrastructureError(f"{folder}: {base} is no whole set of shards: {had}", advice)
