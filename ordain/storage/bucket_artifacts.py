"""Artifacts in a bucket, which knows neither folders nor a rename.

An artifact is a folder of the workspace. Its files are uploaded first, and then a marker beside the
folder, with the name, size and SHA-256 of each: what has no marker is no artifact, whatever a pod
that was killed has left there. What is fetched is held against the marker, and appears in the
workspace by one rename.
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
from ordain.storage.artifact_store import PLACE
from ordain.storage.bucket import Bucket, address_of, at_once, staged_beside, unwritable

#: Follows the folder's name.
MARKER = ".objects.json"
_FORM = 1
#: Some hundred thousand files.
_MARKER_BYTES = 64_000_000
_LOST = (
    "restore it from the bucket's versions; or remove the artifact's marker (its address followed "
    f"by {MARKER}) and start a new run, which makes it anew"
)

log = logging.getLogger(__name__)


class RunBucket(Bucket):
    """What the pods of a run share: files and artifacts (`ordain.storage.artifact_store.Store`).

    A URI that is not below `PLACE` is on a mounted volume, and left alone.
    """

    def fetch(self, uri: str) -> None:
        """Brings an artifact here, unless it is.

        Raises:
            InfrastructureError: It is not whole in the bucket, one of its files is not what was
                uploaded, the store does not answer, or the workspace cannot be written.
        """
        folder = Path(uri)
        if not folder.is_relative_to(PLACE) or folder.is_dir():
            return
        folders, files = self._read_marker(folder)
        staged = staged_beside(folder)

        def take(file: FileDigest) -> None:
            self._take(folder / file.path, staged / file.path, file)

        try:
            shutil.rmtree(staged, ignore_errors=True)
            parents = {str(PurePosixPath(file.path).parent) for file in files}
            for name in ("", *folders, *sorted(parents)):
                (staged / name).mkdir(parents=True, exist_ok=True)
            at_once(take, files)
            _appear(staged, folder)
        except OSError as error:
            raise unwritable(folder, error) from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        log.info("fetched %s: %s", address_of(folder), _told(files))

    def has(self, uri: str) -> bool:
        """Whether an artifact is here, or whole in the bucket; its files are not looked at."""
        path = Path(uri)
        if path.exists() or not path.is_relative_to(PLACE):
            return bool(uri) and path.exists()
        return self.read(_marker(path), _MARKER_BYTES) is not None

    def keep(self, uri: str) -> None:
        """Uploads an artifact, the marker last; a retry does all of it again.

        Raises:
            InfrastructureError: It cannot be read, or the store does not answer or refuses.
        """
        folder = Path(uri)
        if not folder.is_relative_to(PLACE):
            return
        try:
            files = digest_tree(folder)
            folders = _empty_folders(folder)
        except OSError as error:
            raise InfrastructureError(f"{folder} cannot be read: {error.strerror}") from error
        marker = _marker(folder)
        self.remove([marker])
        known = {folder / file.path for file in files}
        at_once(self.upload, sorted(known))
        # What an earlier try left under other names.
        self.remove(path for path in self.find(folder) if path not in known)
        about = {
            "form": _FORM,
            "files": [{"path": f.path, "bytes": f.size_bytes, "sha256": f.sha256} for f in files],
            "folders": folders,
        }
        self.write(marker, json.dumps(about, indent=1))
        log.info("kept %s: %s", address_of(folder), _told(files))

    def discard(self, uri: str) -> bool:
        """Removes what a pod that was killed had uploaded; says whether there was anything."""
        folder = Path(uri)
        if not folder.is_relative_to(PLACE):
            return False
        # The marker first: what is half removed is no artifact.
        was_whole = self.remove([_marker(folder)])
        return bool(self.remove(self.find(folder)) or was_whole)

    def outputs_of(self, node: Path, execution_id: int) -> list[Path]:
        """Where an execution's outputs are: TFX names their folders `<node>/<key>/<execution>`."""
        if not node.is_relative_to(PLACE):
            return []
        return [key / str(execution_id) for key in self.folders(node)]

    def _read_marker(self, folder: Path) -> tuple[list[str], list[FileDigest]]:
        """The empty folders and the files of an artifact."""
        address = address_of(_marker(folder))
        text = self.read(_marker(folder), _MARKER_BYTES)
        if text is None:
            raise InfrastructureError(
                f"{address_of(folder)}: is not whole: there is no {address}, which is written "
                "last; ML Metadata has the artifact, so something removed it since",
                _LOST,
            )
        try:
            return _parse(text)
        except (ValueError, KeyError, TypeError) as error:
            raise InfrastructureError(
                f"{address}: is not what a pod writes: {error}", _LOST
            ) from error

    def _take(self, path: Path, to: Path, expected: FileDigest) -> None:
        """Downloads a file and holds it against the marker."""
        self.download(path, to)
        found = digest_file(to, expected.path)
        if found != expected:
            raise InfrastructureError(
                f"{address_of(path)}: {found.size_bytes} bytes with SHA-256 {found.sha256}, and "
                f"{expected.size_bytes} bytes with {expected.sha256} were uploaded: something "
                "changed the object since",
                _LOST,
            )


def _marker(folder: Path) -> Path:
    return folder.with_name(folder.name + MARKER)


def _parse(text: bytes) -> tuple[list[str], list[FileDigest]]:
    raw: Any = json.loads(text)
    if raw["form"] != _FORM:
        raise ValueError(f"form {raw['form']}, and this image reads form {_FORM}")
    files = [FileDigest(f["path"], f["sha256"], int(f["bytes"])) for f in raw["files"]]
    folders = [str(name) for name in raw["folders"]]
    for relative in (*folders, *(file.path for file in files)):
        path = PurePosixPath(relative)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(f"{relative!r} is no path below the artifact")
    return folders, files


def _appear(staged: Path, folder: Path) -> None:
    try:
        staged.rename(folder)
    except OSError:
        # Tasks of a simulation share the workspace: another one may have been quicker.
        if not folder.is_dir():
            raise


def _empty_folders(folder: Path) -> list[str]:
    found = [path for path in folder.rglob("*") if path.is_dir() and not any(path.iterdir())]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _told(files: Iterable[FileDigest]) -> str:
    sizes = [file.size_bytes for file in files]
    return f"{len(sizes)} files, {sum(sizes)} bytes"
