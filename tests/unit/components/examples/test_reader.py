"""Records of TFRecord files, compressed or not."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from ordain.components.examples.reader import read_records


@pytest.mark.parametrize(("suffix", "compression"), [("", ""), (".gz", "GZIP")])
def test_files_are_read_one_after_the_other(tmp_path: Path, suffix: str, compression: str) -> None:
    files = [str(tmp_path / f"part-{number}{suffix}") for number in (0, 1)]
    for file, records in zip(files, ([b"one", b"two"], [b"three"]), strict=True):
        with tf.io.TFRecordWriter(file, compression) as writer:
            for record in records:
                writer.write(record)
    assert list(read_records(files).as_numpy_iterator()) == [b"one", b"two", b"three"]
    assert list(read_records(reversed(files)).as_numpy_iterator()) == [b"three", b"one", b"two"]


def test_no_files_hold_no_records() -> None:
    assert list(read_records([]).as_numpy_iterator()) == []
