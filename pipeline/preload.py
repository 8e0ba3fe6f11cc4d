"""Imports that a process needs before it launches nodes: TFX, and the project's own module."""

from __future__ import annotations

import contextlib
import glob
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ordain.common.lazy_imports import frameworks


class FileStatistics(NamedTuple):
    """File status under TensorFlow's names."""

    length: int
    mtime_nsec: int
    is_directory: bool


@contextlib.contextmanager
def loading_tfx() -> Iterator[None]:
    """Lets the body import what launches a node: TFX's launcher and Beam, without TensorFlow.

    A node that is cached or skipped needs no more; what an executor needs comes with it.
    """
    with frameworks():
        _complete_tfma()
        _prefer_local_files()
        yield


def _complete_tfma() -> None:
    """Gives TFMA's `sdk` the protos that its name list of 0.52 lost.

    `tfx.components` does so when it is imported, with all of TFMA; TFX's own specs need it.
    """
    from google.protobuf import wrappers_pb2  # noqa: F401, PLC0415  its protos do not ask for it
    from tensorflow_model_analysis import sdk  # noqa: PLC0415
    from tensorflow_model_analysis.proto import config_pb2  # noqa: PLC0415

    for name in config_pb2.DESCRIPTOR.message_types_by_name:
        if not hasattr(sdk, name):
            setattr(sdk, name, getattr(config_pb2, name))


def _prefer_local_files() -> None:
    """Has TFX read and write local paths with Python; TensorFlow stays for `gs://` and the like."""
    from tfx.dsl.io import filesystem_registry  # noqa: PLC0415
    from tfx.dsl.io.plugins import local  # noqa: PLC0415

    class LocalFiles(local.LocalFilesystem):
        """TFX's own, with what TFX takes for granted: TensorFlow's order and statistics."""

        @staticmethod
        def glob(pattern: Any) -> list[Any]:
            # `*` stands for hidden names too, as TensorFlow has it.
            return sorted(glob.glob(pattern, include_hidden=True))  # noqa: PTH207  as given

        @staticmethod
        def listdir(path: Any) -> list[Any]:
            return sorted(local.LocalFilesystem.listdir(path))

        @staticmethod
        def stat(path: Any) -> FileStatistics:
            found = local.LocalFilesystem.stat(path)
            # TensorFlow counts in whole seconds, and so do the fingerprints that TFX makes of it.
            seconds = int(found.st_mtime)
            return FileStatistics(found.st_size, seconds * 10**9, stat.S_ISDIR(found.st_mode))

    registry = filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY
    registry.register(LocalFiles, priority=0)


@contextlib.contextmanager
def project_on_path(folder: Path) -> Iterator[None]:
    """Lets the project's module import its neighbours.

    Args:
        folder: The project's folder.
    """
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
