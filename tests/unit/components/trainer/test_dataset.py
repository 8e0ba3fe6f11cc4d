"""The Trainer's dataset factory beside TFX's own: same rows, same form, another order."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.tfxio import tf_example_record
from tfx_bsl.tfxio.dataset_options import TensorFlowDatasetOptions

from ordain.components.trainer import dataset as training_data
from ordain.components.trainer.dataset import faster

SCHEMA = text_format.Parse(
    """
    feature { name: "x" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
    feature { name: "v" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 3 } } }
    feature { name: "y" type: INT presence { min_fraction: 1 } shape {} }
    """,
    schema_pb2.Schema(),
)


def stock(files: list[str], options: Any, schema: Any) -> tf.data.Dataset:
    reader = tf_example_record.TFExampleRecord(files, schema=schema, telemetry_descriptors=["test"])
    return reader.TensorFlowDataset(options)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Three files of 100, 7 and 0 rows; `y` counts them."""
    paths, number = [], 0
    for part, rows in enumerate((100, 7, 0)):
        path = str(tmp_path / f"part-{part}.gz")
        with tf.io.TFRecordWriter(path, tf.io.TFRecordOptions("GZIP")) as writer:
            for _ in range(rows):
                example = tf.train.Example()
                example.features.feature["x"].float_list.value.append(number / 2)
                example.features.feature["v"].float_list.value.extend([number, 0, 1])
                example.features.feature["y"].int64_list.value.append(number)
                writer.write(example.SerializeToString())
                number += 1
        paths.append(path)
    return paths


def rows(dataset: tf.data.Dataset) -> list[int]:
    return [int(y) for _, label in dataset for y in label]


def options(**changes: Any) -> TensorFlowDatasetOptions:
    return TensorFlowDatasetOptions(batch_size=16, label_key="y", **changes)


def test_batches_have_the_structure_of_tfx(files: list[str]) -> None:
    for chosen in (options(), options()._replace(label_key=None)):
        ours = faster(stock)(files, chosen, SCHEMA).element_spec
        theirs = stock(files, chosen, SCHEMA).element_spec
        tf.nest.map_structure(
            lambda a, b: (a.dtype, a.shape[1:]) == (b.dtype, b.shape[1:]) or pytest.fail(f"{a}"),
            ours,
            theirs,
        )


def test_an_epoch_holds_each_row_once_with_its_own_features(files: list[str]) -> None:
    for size in (10_000, 32, 16, 3):
        dataset = faster(stock)(files, options(num_epochs=1, shuffle_buffer_size=size), SCHEMA)
        assert sorted(rows(dataset)) == list(range(107)), size
        for features, label in dataset:
            y = tf.cast(label, tf.float32)
            assert tf.reduce_all(features["x"][:, 0] * 2 == y)
            assert tf.reduce_all(features["v"][:, 0] == y)


def test_the_order_follows_the_seed_and_changes_with_the_epoch(files: list[str]) -> None:
    seeded = [
        rows(faster(stock)(files, options(num_epochs=2, shuffle_seed=seed), SCHEMA))
        for seed in (1, 1, 2)
    ]
    assert seeded[0] == seeded[1]
    assert seeded[0] != seeded[2]
    assert seeded[0][:107] != seeded[0][107:]
    assert sorted(seeded[0][:107]) == list(range(107))


def test_files_are_mixed_even_in_a_small_buffer(files: list[str]) -> None:
    chosen = options(num_epochs=1, shuffle_buffer_size=80, shuffle_seed=1)
    first = rows(faster(stock)(files, chosen, SCHEMA))[:80]
    assert any(row >= 100 for row in first)


def test_without_shuffle_the_order_is_that_of_the_files(files: list[str]) -> None:
    dataset = faster(stock)(files, options(num_epochs=1, shuffle=False), SCHEMA)
    assert rows(dataset) == list(range(107))


def test_endless_dataset_has_full_batches(files: list[str]) -> None:
    dataset = faster(stock)(files, options(), SCHEMA).take(50)
    assert {len(label) for _, label in dataset} == {16}


def test_fewer_rows_than_a_batch_are_still_a_batch(files: list[str]) -> None:
    (first,) = faster(stock)(files[1:], options(), SCHEMA).take(1)
    assert sorted(first[1].numpy()) == list(range(100, 107))


def test_a_single_file_is_enough(files: list[str]) -> None:
    dataset = faster(stock)(files[:1], options(num_epochs=1), SCHEMA)
    assert sorted(rows(dataset)) == list(range(100))


def test_more_than_fits_is_read_again(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = options(num_epochs=2, shuffle_seed=1)
    kept = rows(faster(stock)(files, chosen, SCHEMA))
    monkeypatch.setattr(training_data, "KEPT_BYTES", 0)
    streamed = rows(faster(stock)(files, chosen, SCHEMA))
    assert streamed[:107] == kept[:107]
    assert sorted(streamed[107:]) == list(range(107))
    assert streamed[:107] != streamed[107:]


@pytest.fixture
def forty(tmp_path: Path) -> list[str]:
    """Forty files of 200 rows; `y` divided by 200 is the file's number."""
    paths = []
    for part in range(40):
        path = str(tmp_path / f"part-{part:02d}.gz")
        with tf.io.TFRecordWriter(path, tf.io.TFRecordOptions("GZIP")) as writer:
            for row in range(200):
                example = tf.train.Example()
                example.features.feature["x"].float_list.value.append(row)
                example.features.feature["v"].float_list.value.extend([row, 0, 1])
                example.features.feature["y"].int64_list.value.append(part * 200 + row)
                writer.write(example.SerializeToString())
        paths.append(path)
    return paths


@pytest.mark.parametrize("kept_bytes", [training_data.KEPT_BYTES, 0])
@pytest.mark.parametrize("is_one_dataset", [True, False])
def test_no_file_waits_for_the_first_sixteen(
    forty: list[str], monkeypatch: pytest.MonkeyPatch, kept_bytes: int, is_one_dataset: bool
) -> None:
    """1,600 of 8,000 rows an epoch: in the order of names they were those of files 0 to 15."""
    monkeypatch.setattr(training_data, "KEPT_BYTES", kept_bytes)

    def epochs(seed: int) -> list[list[int]]:
        chosen = options(shuffle_seed=seed, shuffle_buffer_size=800)
        if is_one_dataset:  # `fit(steps_per_epoch=...)` on a dataset without an end
            read = rows(faster(stock)(forty, chosen._replace(num_epochs=2), SCHEMA))
            return [read[:1600], read[8000:9600]]
        # `fit(epochs=2)` on a dataset of one epoch: it is iterated anew
        once = faster(stock)(forty, chosen._replace(num_epochs=1), SCHEMA)
        return [rows(once)[:1600] for _ in range(2)]

    first, second = epochs(1)
    assert epochs(1) == [first, second]
    assert epochs(2)[0] != first
    assert first != second
    files = [{row // 200 for row in read} for read in (first, second)]
    assert max(files[0]) > 15
    assert files[0] != files[1]
    assert len(files[0] | files[1]) > 20


def test_only_committed_files_of_a_folder_are_read(files: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "Split-train"
    folder.mkdir()
    for number, path in enumerate(files):
        Path(path).rename(folder / f"data_tfrecord-{number:05d}-of-00003.gz")
    (folder / ".staged-0-abc").write_bytes(b"half a file")
    read = []
    make = faster(stock, lambda paths, chosen: read.append((len(paths), chosen.batch_size)))
    assert sorted(rows(make([f"{folder}/*"], options(num_epochs=1), SCHEMA))) == list(range(107))
    assert read == [(3, 16)]


def test_sparse_features_go_to_tfx(files: list[str]) -> None:
    sparse = schema_pb2.Schema()
    sparse.CopyFrom(SCHEMA)
    sparse.feature[0].ClearField("shape")
    ((features, _),) = faster(stock)(files, options(num_epochs=1), sparse).take(1)
    assert isinstance(features["x"], tf.SparseTensor)


def test_a_damaged_file_is_an_error_of_the_training(files: list[str]) -> None:
    path = Path(files[0])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(tf.errors.OpError, match="truncated record"):
        list(faster(stock)(files, options(num_epochs=1), SCHEMA))


def test_rows_are_prefetched(files: list[str]) -> None:
    dataset = faster(stock)(files, options(num_epochs=1), SCHEMA)
    # The next dataset's turn comes when this one is read.
    assert len(rows(faster(stock)(files, options(num_epochs=1), SCHEMA))) == 107
    for path in files:
        Path(path).unlink()
    assert sorted(rows(dataset)) == list(range(107))


def test_kept_rows_are_released(files: list[str]) -> None:
    dataset = faster(stock)(files, options(num_epochs=1), SCHEMA)
    assert len(rows(dataset)) == 107
    kept = list(training_data._Kept.made)
    assert any(one._buffers for one in kept)
    training_data.release()
    assert not any(one._buffers for one in kept)


def test_rows_still_being_read_are_released() -> None:
    begun, may_go_on = threading.Event(), threading.Event()

    def slowly():
        yield 1
        begun.set()
        assert may_go_on.wait(60)
        yield 2
        yield 3

    spec = tf.TensorSpec([], tf.int64)
    kept = training_data._Kept(tf.data.Dataset.from_generator(slowly, output_signature=spec))
    assert begun.wait(60)
    training_data.release()
    may_go_on.set()
    kept._read.result(60)
    assert kept._buffers == []
