"""Artifacts in a bucket, which has neither folders nor an atomic rename.

An artifact is a folder of the workspace. Its files are uploaded first, then a marker beside the
folder with the path, size and SHA-256 of each. A folder without a marker, such as a killed pod
leaves, is no artifact. Fetched files are compared with the marker, and appear in the workspace by
one rename.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from ordain.common.digests import FileDigest, digest_file, digest_tree
from ordain.errors import InfrastructureError
from ordain.storage.artifact_store import BUCKET_ROOT, Store
from ordain.storage.bucket import Bucket, address_of, in_parallel, staging_path, unwritable

#: Suffix of the folder's name.
MARKER = ".objects.json"
_FORMAT = 1
#: Enough for some hundred thousand files.
_MARKER_BYTES = 64_000_000
_LOST = (
    "restore it from the bucket's versions; or remove the artifact's marker (its address followed "
    f"by {MARKER}) and start a new run, which recreates it"
)

log = logging.getLogger(__name__)


class RunBucket(Bucket, Store):
    """The store of a run whose pods share a bucket.

    A URI that is not below `BUCKET_ROOT` is on a mounted volume, and ignored.
    """

    def fetch(self, uri: str) -> None:
        """Downloads an artifact unless it is in the workspace, and checks each file."""
        folder = Path(uri)
        if not folder.is_relative_to(BUCKET_ROOT) or folder.is_dir():
            return
        folders, files = self._read_marker(folder)
        staged = staging_path(folder)

        def take(file: FileDigest) -> None:
            self._take(folder / file.path, staged / file.path, file)

        try:
            shutil.rmtree(staged, ignore_errors=True)
            parents = {str(PurePosixPath(file.path).parent) for file in files}
            for name in ("", *folders, *sorted(parents)):
                (staged / name).mkdir(parents=True, exist_ok=True)
            in_parallel(take, files)
            _appear(staged, folder)
        except OSError as error:
            raise unwritable(folder, error) from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        log.info("fetched %s: %s", address_of(folder), _size(files))

    def has(self, uri: str) -> bool:
        """Returns True if an artifact is in the workspace or has a marker in the bucket."""
        path = Path(uri)
        if path.exists() or not path.is_relative_to(BUCKET_ROOT):
            return bool(uri) and path.exists()
        return self.read(_marker(path), _MARKER_BYTES) is not None

    def is_missing(self, uri: str) -> bool:
        """Returns False: only a request tells."""
        return False

    def keep(self, uri: str) -> None:
        """Uploads an artifact, the marker last; a retry uploads all of it again."""
        folder = Path(uri)
        if not folder.is_relative_to(BUCKET_ROOT):
            return
        try:
            files = digest_tree(folder)
            folders = _empty_folders(folder)
        except OSError as error:
            raise InfrastructureError(f"{folder} cannot be read: {error.strerror}") from error
        marker = _marker(folder)
        self.remove([marker])
        known = {folder / file.path for file in files}
        in_parallel(self.upload, sorted(known))
        # What an earlier attempt left under other names.
        self.remove(path for path in self.find(folder) if path not in known)
        about = {
            "form": _FORMAT,
            "files": [{"path": f.path, "bytes": f.size_bytes, "sha256": f.sha256} for f in files],
            "folders": folders,
        }
        self.write(marker, json.dumps(about, indent=1))
        log.info("kept %s: %s", address_of(folder), _size(files))

    def discard(self, uri: str) -> bool:
        """Removes what a killed pod had uploaded; returns True if there was anything."""
        folder = Path(uri)
        if not folder.is_relative_to(BUCKET_ROOT):
            return False
        # The marker first, so that a half removed folder is no artifact.
        was_whole = self.remove([_marker(folder)])
        return bool(self.remove(self.find(folder)) or was_whole)

    def outputs_of(self, node: Path, execution_id: int) -> list[Path]:
        """Lists output folders of an execution, which TFX names `<node>/<key>/<execution>`."""
        if not node.is_relative_to(BUCKET_ROOT):
            return []
        return [key / str(execution_id) for key in self.folders(node)]

    def _read_marker(self, folder: Path) -> tuple[list[str], list[FileDigest]]:
        """Reads the empty folders and the files of an artifact."""
        address = address_of(_marker(folder))
        text = self.read(_marker(folder), _MARKER_BYTES)
        if text is None:
            raise InfrastructureError(
                f"{address_of(folder)}: artifact is incomplete: {address} does not exist, which is "
                "uploaded last; ML Metadata has the artifact, so it was removed afterwards",
                _LOST,
            )
        try:
            return _parse(text)
        except (ValueError, KeyError, TypeError) as error:
            raise InfrastructureError(f"{address}: is not a marker: {error}", _LOST) from error

    def _take(self, path: Path, to: Path, expected: FileDigest) -> None:
        """Downloads a file and compares it with the marker."""
        self.download(path, to)
        found = digest_file(to, expected.path)
        if found != expected:
            raise InfrastructureError(
                f"{address_of(path)}: changed after its upload: {found.size_bytes} bytes with "
                f"SHA-256 {found.sha256}; uploaded were {expected.size_bytes} bytes with "
                f"{expected.sha256}",
                _LOST,
            )


def _marker(folder: Path) -> Path:
    return folder.with_name(folder.name + MARKER)


def _parse(text: bytes) -> tuple[list[str], list[FileDigest]]:
    raw: Any = json.loads(text)
    if raw["form"] != _FORMAT:
        raise ValueError(f"format {raw['form']}, and this image reads format {_FORMAT}")
    files = [FileDigest(f["path"], f["sha256"], int(f["bytes"])) for f in raw["files"]]
    folders = [str(name) for name in raw["folders"]]
    for relative in (*folders, *(file.path for file in files)):
        path = PurePosixPath(relative)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(f"{relative!r} is not a path below the artifact")
    return folders, files


def _appear(staged: Path, folder: Path) -> None:
    try:
        staged.rename(folder)
    except OSError:
        # Tasks of a simulation share the workspace: another one may have fetched it already.
        if not folder.is_dir():
            raise


def _empty_folders(folder: Path) -> list[str]:
    found = [path for path in folder.rglob("*") if path.is_dir() and not any(path.iterdir())]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _size(files: Iterable[FileDigest]) -> str:
    sizes = [file.size_bytes for file in files]
    return f"{len(sizes)} files, {sum(sizes)} bytes"
