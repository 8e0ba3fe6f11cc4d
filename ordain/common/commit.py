"""Commit protocol of all writers: work that is retried, run twice or killed gives one result.

A runner may process a piece of work (an element of a Beam pipeline) more than once: it restarts the
pieces of a dead worker, and some run a slow piece twice at the same time, while a worker that was
given up may still be writing. Hence no worker writes under a name that a reader knows:

1. `Staging` makes one temporary folder, `<root>/.temp/<token>`, for each attempt at an execution,
   and removes what earlier attempts left in the root.
2. Each attempt at a piece writes its own files there (`Staging.new_path`), and names them in its
   result. A file that no result names belongs to a failed attempt.
3. The driving process takes one result for each piece (`one_each`).
4. `Staging.commit` renames the files of those results to their final names, compares their sizes
   with those that their writers recorded, and lists them in `committed.json`, last of all. The rest
   is removed.
5. Readers take the files that are listed there (`list_committed`).

Neither TFX nor TensorFlow is imported here: files are accessed through `Files`.
"""

from __future__ import annotations

import json
import logging
import pickle
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ordain.common.files import Files
from ordain.errors import InfrastructureError, NodeFailedError

#: The list of committed files, in the artifact's folder.
COMMITTED_FILE = "committed.json"
_TEMPORARY = ".temp"
#: A shard's name in Beam and TFX: its number and the number of shards.
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?:\.[a-z]+)*$")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Written:
    """A file that an attempt wrote and closed.

    Attributes:
        path: Its path in the temporary folder.
        rows: Number of rows written.
        size_bytes: Size after it was closed.
    """

    path: str
    rows: int
    size_bytes: int


class Staging:
    """The temporary folder of one attempt at an execution; it is pickled to the workers.

    The folder exists while it is entered. Only the driving process enters, commits and exits.
    """

    def __init__(self, root: str, files: Files) -> None:
        """Takes the folder of the outputs.

        Args:
            root: Folder of this execution alone; its content is removed on entry.
            files: Accesses the root, from every worker too.
        """
        self._root = root
        self._files = files
        self.folder = f"{root}/{_TEMPORARY}/{uuid.uuid4().hex}"

    def __enter__(self) -> Staging:
        """Removes what earlier attempts left, and makes the temporary folder."""
        self._clear(self._root)
        self._files.make_folder(self.folder)
        return self

    def __exit__(self, *error: object) -> None:
        """Removes the temporary folder with all that was not committed."""
        del error
        try:
            self._files.remove(f"{self._root}/{_TEMPORARY}")
        except OSError as reason:  # a worker that was given up is still writing into it
            _log.warning("%s/%s cannot be removed: %s", self._root, _TEMPORARY, reason)

    def new_path(self, suffix: str = "") -> str:
        """Returns a path in the temporary folder that no other attempt uses."""
        return f"{self.folder}/{uuid.uuid4().hex}{suffix}"

    def written(self, path: str, rows: int) -> Written:
        """Describes a file that was closed."""
        size = self._files.size(path)
        if size is None:
            raise NodeFailedError(f"{path}: was removed while it was written")
        return Written(path, rows, size)

    def keep_results(self, results: Iterable[Any], name: str) -> None:
        """Stores the results of a pipeline for the driving process, with one rename.

        The last attempt wins: the files that any attempt's results name all exist.
        """
        path = self.new_path()
        self._files.write(path, pickle.dumps(list(results)))
        self._files.move(path, f"{self.folder}/{name}")

    def results(self, name: str) -> list[Any]:
        """Reads the results that `keep_results` stored.

        Raises:
            NodeFailedError: The pipeline ended without storing any.
        """
        if self._files.size(f"{self.folder}/{name}") is None:
            raise NodeFailedError(
                f"{self.folder}: the Beam pipeline ended without storing its results",
                "mount the workspace at this path in every worker",
            )
        content = self._files.read(f"{self.folder}/{name}")
        return list(pickle.loads(content))  # noqa: S301 - our own worker wrote it

    def commit(self, uri: str, folders: Mapping[str, Mapping[str, Written]]) -> None:
        """Renames files to their final names, and lists them in `committed.json` last.

        Args:
            uri: Folder of the artifact; its previous content is removed.
            folders: Files by name, for each folder in the artifact; an empty folder name is the
                artifact's own folder.

        Raises:
            NodeFailedError: A file does not exist, or changed after its writer closed it.
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
        """Removes what earlier attempts left in a folder, its list of committed files first."""
        self._files.remove(f"{uri}/{COMMITTED_FILE}")
        for name in self._files.names(uri):
            if name != kept:
                self._files.remove(f"{uri}/{name}")

    def _move(self, written: Written, target: str) -> None:
        try:
            self._files.move(written.path, target)
        except FileNotFoundError as error:
            raise NodeFailedError(
                f"{target}: its staged file {written.path} does not exist any more"
            ) from error
        size = self._files.size(target)
        if size != written.size_bytes:
            raise NodeFailedError(
                f"{target}: {size} bytes; its writer closed it with {written.size_bytes}"
            )


def one_each(results: Iterable[tuple[int, Any]], count: int) -> list[Any]:
    """Picks the first result of each piece, and orders them by piece.

    Args:
        results: Piece numbers with their results, in any order; a number may occur twice.
        count: Number of pieces.

    Raises:
        NodeFailedError: A piece has no result.
    """
    chosen: dict[int, Any] = {}
    for number, result in results:
        chosen.setdefault(number, result)
    missing = sorted(set(range(count)) - chosen.keys())
    if missing:
        raise NodeFailedError(
            f"{len(missing)} of {count} pieces of work have no result, number {missing[0]} first",
            "run again: what is finished is cached",
        )
    return [chosen[number] for number in range(count)]


@dataclass(frozen=True)
class Listing:
    """Content of one folder of an artifact.

    Attributes:
        paths: Committed files, sorted by name.
        strays: Names of other files and folders beside them.
    """

    paths: tuple[str, ...]
    strays: tuple[str, ...]


def list_committed(folder: str, files: Files) -> Listing:
    """Lists the files of a folder that a reader may take.

    In an artifact without `committed.json`, from a component that is not ours, they are the shards
    (`-00000-of-00002`), or all that is not hidden if there are none.

    Args:
        folder: A folder of an artifact, such as a split's.
        files: Accesses it.

    Raises:
        InfrastructureError: A file is missing or has another size, or a shard is missing.
    """
    uri, _, name = folder.rstrip("/").rpartition("/")
    present = files.names(folder)
    advice = "ordain run PROJECT --from ExampleGen --no-cache recreates the artifacts"
    if files.size(f"{uri}/{COMMITTED_FILE}") is not None:
        listed = json.loads(files.read(f"{uri}/{COMMITTED_FILE}")).get(name, {})
        for file, facts in listed.items():
            size = files.size(f"{folder}/{file}")
            if size != facts["bytes"]:
                found = "is missing" if size is None else f"has {size} bytes"
                raise InfrastructureError(
                    f"{folder}/{file}: {found}; committed were {facts['bytes']} bytes", advice
                )
        taken = sorted(listed)
    else:
        visible = [file for file in present if not file.startswith((".", "_"))]
        taken = [file for file in visible if _SHARD.search(file)] or visible
        _require_complete(folder, taken, advice)
    strays = tuple(file for file in present if file not in taken)
    return Listing(tuple(f"{folder}/{file}" for file in taken), strays)


def _require_complete(folder: str, names: Sequence[str], advice: str) -> None:
    """Refuses shards of two attempts, and a missing shard."""
    found = [match for name in names if (match := _SHARD.search(name))]
    by_base: dict[str, list[tuple[int, int]]] = {}
    for match in found:
        base = match.string[: match.start()]
        by_base.setdefault(base, []).append((int(match[1]), int(match[2])))
    for base, shards in by_base.items():
        if sorted(shards) != [(number, len(shards)) for number in range(len(shards))]:
            had = ", ".join(f"{number} of {count}" for number, count in sorted(shards))
            raise InfrastructureError(
                f"{folder}: shards of {base} are incomplete or mixed: {had}", advice
            )
