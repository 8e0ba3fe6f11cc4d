"""Writes gzipped TFRecord files and verifies that they contain what was counted."""

from __future__ import annotations

import struct
from types import TracebackType

import tensorflow as tf
from tfx.dsl.io import fileio

from ordain.common.commit import Staging, Written
from ordain.errors import NodeFailedError

#: gzip level 1: a third of the time of the default level for a tenth more bytes.
GZIP_LEVEL = 1
#: A TFRecord's length and checksums (tensorflow/core/lib/io/record_writer.h).
_FRAME_BYTES = 16


class RecordWriter:
    """A file in an execution's temporary folder; `written` describes it once it is closed.

    Args:
        staging: Where to write.
    """

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._path = staging.new_path(".gz")
        options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=GZIP_LEVEL)
        self._writer = tf.io.TFRecordWriter(self._path, options)
        self._bytes = 0
        self.rows = 0

    def __enter__(self) -> RecordWriter:
        """Returns the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        del kind, error, trace
        self._writer.close()

    def write(self, record: bytes) -> None:
        """Appends a record."""
        self._writer.write(record)
        self._bytes += len(record) + _FRAME_BYTES
        self.rows += 1

    def written(self) -> Written:
        """Describes the closed file.

        Raises:
            NodeFailedError: It does not contain all records that were written.
        """
        written = self._staging.written(self._path, self.rows)
        found = self._uncompressed_bytes(written)
        if found != self._bytes % 2**32:
            raise NodeFailedError(
                f"{self._path}: contains {found} bytes of records, {self._bytes} were written "
                f"({self.rows} rows)"
            )
        return written

    def _uncompressed_bytes(self, written: Written) -> int:
        """The uncompressed size modulo 2^32, in gzip's last four bytes (RFC 1952)."""
        if written.size_bytes < 4:  # TensorFlow writes an empty file for no records
            return 0
        with fileio.open(self._path, "rb") as file:
            file.seek(written.size_bytes - 4)
            return int(struct.unpack("<I", file.read(4))[0])
