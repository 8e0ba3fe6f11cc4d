"""Portable paths in ML Metadata, which stay valid when the workspace or the project is moved.

A folder's path is replaced by an address when it is written, and an address by the folder that the
configuration names now when it is read:

    /home/ann/taxi/var/taxi/artifacts/Trainer/model/8    ordain://workspace/taxi/artifacts/...
    /home/ann/taxi/model.py                              ordain://project.taxi/model.py
    /home/ann/data/taxi, written as ../data/taxi         ordain://project.taxi/../data/taxi

A project's address contains its name: projects that share a database do not resolve each other's.
All other paths, and addresses such as `gs://bucket/folder`, are not changed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

SCHEME = "ordain://"
#: A path starts a string, or follows one of these in JSON or in an error message ...
_BEFORE = r"(?<![^\s\"'=:,(\[])"
#: ... and a folder's path ends before these: `/data/taxi` is not in `/data/taxi-2`.
_AFTER = r"(?=/|\Z|[\"'\\])"
#: Characters that JSON escapes.
_UNSAFE = re.compile(r"[\"\\\x00-\x1f]")


class PortablePaths:
    """Replaces folders by addresses, and addresses by folders, in any string."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        """Takes folders by name; of two names of one folder the first is used."""
        self._folders = {
            f"{SCHEME}{name}": str(folder)
            for name, folder in folders.items()
            if folder != Path(folder.anchor)
        }
        self._addresses: dict[str, str] = {}
        patterns: dict[str, str] = {}
        for address, folder in self._folders.items():
            # A quote would end a JSON string: such a path is replaced only where a string starts.
            before = r"\A" if _UNSAFE.search(folder) else _BEFORE
            # JSON escapes what is not ASCII.
            for written in (folder, json.dumps(folder)[1:-1]):
                self._addresses.setdefault(written, address)
                patterns[written] = before + re.escape(written)
            patterns[address] = before + re.escape(address)
        self._folder = _longest(patterns, self._folders)
        self._address = _longest(patterns, self._addresses)

    def portable(self, text: str) -> str:
        """Replaces the paths of folders in a string by addresses."""
        if not any(folder in text for folder in self._addresses):
            return text
        return self._address.sub(lambda found: self._addresses[found[0]], text)

    def absolute(self, text: str) -> str:
        """Replaces the addresses in a string by the paths of folders."""
        if SCHEME not in text:
            return text
        return self._folder.sub(lambda found: self._folders[found[0]], text)


def _longest(patterns: Mapping[str, str], texts: Iterable[str]) -> re.Pattern[str]:
    """Builds a pattern that prefers the longest of several strings; of none, it never matches."""
    ordered = [patterns[text] for text in sorted(texts, key=len, reverse=True)]
    return re.compile(f"(?:{'|'.join(ordered)}){_AFTER}" if ordered else "(?!)")


#: Changes no path, for a store without a workspace.
AS_THEY_ARE = PortablePaths({})


def project_paths(
    name: str, folder: Path, workspace: Path | None, beside: Iterable[Path]
) -> PortablePaths:
    """Builds the portable paths of a project.

    Args:
        name: The project's name.
        folder: Its folder.
        workspace: The workspace; None if its path is the same everywhere, as of a bucket.
        beside: Paths outside of the folder that the configuration gives relative to it.
    """
    own = f"project.{name}"
    folders = {} if workspace is None else {"workspace": workspace}
    relative = {f"{own}/{os.path.relpath(path, folder)}": path for path in beside}
    return PortablePaths({**folders, own: folder, **relative})
