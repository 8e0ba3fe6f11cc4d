"""The commit protocol through TFX's fileio: on the disk, and in a store that is none."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.dsl.io import fileio

from ordain.common.commit import COMMITTED_FILE, Staging, Written, list_committed
from ordain.components.artifacts.fileio import FileioFiles
from ordain.components.artifacts.record_writer import RecordWriter
from ordain.errors import InfrastructureError, NodeFailedError

FILES = FileioFiles()


@pytest.fixture(params=["disk", "ram"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder on the disk, or in TensorFlow's file system in memory, reached as gs:// is."""
    if request.param == "disk":
        return str(tmp_path / "artifact")
    return f"ram://{uuid.uuid4().hex}/artifact"


def write(staging: Staging, *records: bytes) -> Written:
    with RecordWriter(staging) as writer:
        for record in records:
            writer.write(record)
    return writer.written()


def read(folder: str) -> list[bytes]:
    paths = list_committed(folder, FILES).paths
    return list(tf.data.TFRecordDataset(list(paths), "GZIP").as_numpy_iterator()) if paths else []


def test_what_is_committed_is_read_and_nothing_else(root: str) -> None:
    for attempt in range(2):
        with Staging(root, FILES) as staging:
            write(staging, b"orphan")
            shards = {"0": write(staging, b"a", b"bc"), "1": write(staging)}
            assert read(f"{root}/Split-train") == []
            if attempt == 0:  # killed: nothing is committed, and this lies where a reader looks
                fileio.makedirs(f"{root}/Split-train")
                FILES.write(f"{root}/Split-train/.staged-1", b"half a file")
                FILES.write(f"{root}/{COMMITTED_FILE}", b"{}")
                continue
            staging.keep_results([shards], "name")
            assert staging.results("name") == [shards]
            staging.commit(root, {"Split-train": shards})
    assert read(f"{root}/Split-train") == [b"a", b"bc"]
    assert FILES.names(root) == sorted(["Split-train", COMMITTED_FILE])
    FILES.write(f"{root}/Split-train/zz", b"")
    assert list_committed(f"{root}/Split-train", FILES).strays == ("zz",)
    FILES.remove(f"{root}/Split-train/0")
    with pytest.raises(InfrastructureError, match="0: is missing"):
        read(f"{root}/Split-train")


def test_a_file_that_is_gone_is_an_error(root: str) -> None:
    with Staging(root, FILES) as staging:
        written = write(staging, b"a")
        FILES.remove(written.path)
        with pytest.raises(NodeFailedError, match="does not exist any more"):
            staging.commit(root, {"Split-train": {"0": written}})
        with pytest.raises(NodeFailedError, match="was removed while"):
            staging.written(written.path, 1)
    FILES.remove(f"{root}/none")
    assert FILES.names(f"{root}/none") == []


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_the_file_holds_the_records_that_were_counted(root: str, count: int) -> None:
    with Staging(root, FILES) as staging:
        written = write(staging, *[b"x" * (n % 50) for n in range(count)])
        assert written.rows == count
        assert len(list(tf.data.TFRecordDataset(written.path, "GZIP"))) == count


def test_a_file_with_less_than_was_written_is_an_error(tmp_path: Path) -> None:
    with Staging(str(tmp_path), FILES) as staging:
        with RecordWriter(staging) as writer:
            writer.write(b"a" * 100)
        (path,) = Path(staging.folder).iterdir()
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(NodeFailedError, match=r"116 were written \(1 rows\)"):
            writer.written()
