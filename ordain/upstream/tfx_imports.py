"""TFX 1.21: the import of its launcher without TensorFlow.

- TFMA 0.52 lost the protos from its `sdk`. TFX's own specs need them, and get them from all of
  TFMA otherwise.
- TFX reads and writes local files with TensorFlow's file system if it can be imported. A run in
  which all is cached would import TensorFlow for its files.

`tests/unit/upstream/test_traps.py` fails when upstream mends one of them.
"""

from __future__ import annotations

import contextlib
import glob
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple

from ordain.upstream.lazy_imports import frameworks


class FileStatistics(NamedTuple):
    """File status under TensorFlow's names."""

    length: int
    mtime_nsec: int
    is_directory: bool


@contextlib.contextmanager
def loading_tfx() -> Iterator[None]:
    """Lets the body import what launches a node: TFX's launcher and Beam, without TensorFlow.

    A node that is cached or skipped needs no more; an executor imports what it needs.
    """
    with frameworks():
        _complete_tfma()
        _prefer_local_files()
        yield


def _complete_tfma() -> None:
    """Gives TFMA's `sdk` its protos, as `tfx.components` does with all of TFMA."""
    from google.protobuf import wrappers_pb2  # noqa: F401, PLC0415  TFMA's protos do not import it
    from tensorflow_model_analysis import sdk  # noqa: PLC0415
    from tensorflow_model_analysis.proto import config_pb2  # noqa: PLC0415

    for name in config_pb2.DESCRIPTOR.message_types_by_name:
        if not hasattr(sdk, name):
            setattr(sdk, name, getattr(config_pb2, name))


def _prefer_local_files() -> None:
    """Makes TFX access local paths with Python; TensorFlow stays for `gs://` and the like."""
    from tfx.dsl.io import filesystem_registry  # noqa: PLC0415
    from tfx.dsl.io.plugins import local  # noqa: PLC0415

    class LocalFiles(local.LocalFilesystem):
        """TFX's own, with the order and the statistics of TensorFlow, which TFX relies on."""

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
