"""Paths as ML Metadata keeps them, so that they survive a move of the workspace or the project.

Whatever is written has an address in place of the folder, and whatever is read has the folder that
the configuration names now:

    /home/ann/taxi/var/taxi/artifacts/Trainer/model/8    ordain://workspace/taxi/artifacts/...
    /home/ann/taxi/model.py                              ordain://project.taxi/model.py
    /home/ann/data/taxi, written as ../data/taxi         ordain://project.taxi/../data/taxi

A project's address has its name: projects that share a database do not resolve each other's. All
other paths, and addresses such as `gs://bucket/folder`, are kept as they are.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

SCHEME = "ordain://"
#: A path begins a text or stands apart in one (a JSON, an error's message), ...
_BEFORE = r"(?<![^\s\"'=:,(\[])"
#: ... and a folder's path ends there: `/data/taxi` is no part of `/data/taxi-2`.
_AFTER = r"(?=/|\Z|[\"'\\])"
#: What a JSON cannot hold as it is.
_UNSAFE = re.compile(r"[\"\\\x00-\x1f]")


class PortablePaths:
    """Replaces folders by their addresses, and addresses by their folders, in any text."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        """Takes the folders by their names; of two names of one folder the first is used."""
        self._folders = {
            f"{SCHEME}{name}": str(folder)
            for name, folder in folders.items()
            if folder != Path(folder.anchor)
        }
        self._addresses: dict[str, str] = {}
        patterns: dict[str, str] = {}
        for address, folder in self._folders.items():
            # A quote would end a text of a JSON: such a path is replaced where it stands alone.
            before = r"\A" if _UNSAFE.search(folder) else _BEFORE
            # In a JSON what is not ASCII is escaped.
            for written in (folder, json.dumps(folder)[1:-1]):
                self._addresses.setdefault(written, address)
                patterns[written] = before + re.escape(written)
            patterns[address] = before + re.escape(address)
        self._folder = _longest(patterns, self._folders)
        self._address = _longest(patterns, self._addresses)

    def portable(self, text: str) -> str:
        """A text as it is kept."""
        if not any(folder in text for folder in self._addresses):
            return text
        return self._address.sub(lambda found: self._addresses[found[0]], text)

    def absolute(self, text: str) -> str:
        """A text that was kept, for here and now."""
        if SCHEME not in text:
            return text
        return self._folder.sub(lambda found: self._folders[found[0]], text)


def _longest(patterns: Mapping[str, str], texts: Iterable[str]) -> re.Pattern[str]:
    """Finds the longest of several texts that is there; of none, finds nothing."""
    ordered = [patterns[text] for text in sorted(texts, key=len, reverse=True)]
    return re.compile(f"(?:{'|'.join(ordered)}){_AFTER}" if ordered else "(?!)")


#: For a store in which nothing lies in a workspace: paths stay as they are.
AS_THEY_ARE = PortablePaths({})


def project_paths(
    name: str, folder: Path, workspace: Path | None, beside: Iterable[Path]
) -> PortablePaths:
    """The folders that a project moves with.

    Args:
        name: The project's name.
        folder: Its folder.
        workspace: The workspace; None if its path says by itself what it stands for.
        beside: Paths outside of the folder that the configuration gives relative to it.
    """
    own = f"project.{name}"
    folders = {} if workspace is None else {"workspace": workspace}
    relative = {f"{own}/{os.path.relpath(path, folder)}": path for path in beside}
    return PortablePaths({**folders, own: folder, **relative})
