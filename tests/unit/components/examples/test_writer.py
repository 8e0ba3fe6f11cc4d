"""Rows to shards: the same splits as TFX's, nothing lost, nothing visible before it is whole."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from tfx.components.example_gen import base_example_gen_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2

from ordain.common.commit import Staging
from ordain.components.artifacts.fileio import FileioFiles
from ordain.components.examples import arrow_files
from ordain.components.examples.arrow_types import FeatureType
from ordain.components.examples.writer import Shards, WriteShards, finish
from ordain.errors import DataBlockedError

TYPES = {
    "id": FeatureType.INT,
    "day": FeatureType.BYTES,
    "group": FeatureType.INT,
    "value": FeatureType.FLOAT,
    "tags": FeatureType.BYTES,
    "y": FeatureType.INT,
}
SPLITS = (("train", 2), ("eval", 1))


def rows(count: int = 300) -> list[dict]:
    return [
        {
            "id": i,
            "day": f"2013-01-{i % 31:02d}",
            "group": i % 17 - 8,
            "value": None if i % 5 == 0 else i / 3,
            "tags": [f"t{j}" for j in range(i % 3)],
            "y": None if i % 10 == 3 else i % 2,
        }
        for i in range(count)
    ]


@pytest.fixture
def save(tmp_path):
    """Writes rows as Parquet, columns in the order given."""

    def make(table: list[dict], columns=tuple(TYPES), name: str = "a.parquet") -> str:
        path = tmp_path / name
        schema = pa.schema(
            {
                "id": pa.int64(),
                "day": pa.string(),
                "group": pa.int64(),
                "value": pa.float64(),
                "tags": pa.list_(pa.string()),
                "y": pa.int64(),
            }
        )
        pq.write_table(pa.Table.from_pylist(table, schema).select(columns), path)
        return str(path)

    return make


@pytest.fixture
def make_writer(staging):
    def make(by=None, required=None, splits=SPLITS, types=None) -> WriteShards:
        return WriteShards(staging, splits, by, types or TYPES, required)

    return make


@pytest.fixture
def staging(tmp_path):
    with Staging(str(tmp_path / "out"), FileioFiles()) as entered:
        yield entered


def write(
    writer: WriteShards,
    path: str,
    kind: str = "parquet",
    fixed=None,
    part: int = 0,
    parts: int = 1,
) -> Shards:
    (shards,) = writer.process((path, kind, fixed, part, parts))
    return shards


def paths_of(shards: Shards) -> dict[str, str]:
    return {name: written.path for name, written in shards.written.items()}


def rows_of(shards: Shards) -> dict[str, int]:
    return {name: written.rows for name, written in shards.written.items()}


def read(path) -> list[tf.train.Example]:
    options = "GZIP" if not str(path).endswith(".tfrecord") else ""
    records = tf.data.TFRecordDataset(str(path), options).as_numpy_iterator()
    return [tf.train.Example.FromString(r) for r in records]


def ids(path) -> list[int]:
    return [e.features.feature["id"].int64_list.value[0] for e in read(path)]


def split_config(by: str | None, splits=SPLITS) -> example_gen_pb2.SplitConfig:
    config = example_gen_pb2.SplitConfig(
        splits=[
            example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=buckets)
            for name, buckets in splits
        ]
    )
    if by is not None:
        config.partition_feature_name = by
    return config


def assert_sides_are_tfxs(shard: Shards, by: str | None, splits=SPLITS) -> None:
    config = split_config(by, splits)
    bounds, total = [], 0
    for _, buckets in splits:
        total += buckets
        bounds.append(total)
    for side, (name, _) in enumerate(splits):
        examples = read(shard.written[name].path)
        assert examples, name
        for example in examples:
            where = base_example_gen_executor._PartitionFn(example, len(splits), bounds, config)
            assert where == side


class TestSplits:
    @pytest.mark.parametrize("by", ["day", "group", "id", None])
    def test_splits_equal_tfx(self, save, make_writer, by):
        shard = write(make_writer(by), save(rows()))
        assert_sides_are_tfxs(shard, by)
        assert sum(rows_of(shard).values()) == 300

    @pytest.mark.parametrize("by", ["day", None])
    def test_splits_equal_tfx_with_any_names_and_shares(self, save, make_writer, by):
        splits = (("train", 8), ("eval", 1), ("test", 3))
        shard = write(make_writer(by, splits=splits), save(rows()))
        assert_sides_are_tfxs(shard, by, splits)

    @pytest.mark.parametrize("by", ["day", None])
    def test_splits_equal_tfx_for_tfrecords(self, tmp_path, save, make_writer, by):
        source = write(make_writer(splits=(("all", 1),)), save(rows())).written["all"].path
        path = tmp_path / "a.tfrecord.gz"
        Path(source).rename(path)
        shard = write(make_writer(by), str(path), "tfrecord")
        assert_sides_are_tfxs(shard, by)
        assert sorted(ids(shard.written["train"].path) + ids(shard.written["eval"].path)) == [
            *range(300)
        ]

    @pytest.mark.parametrize("by", ["day", None])
    def test_split_of_a_row_depends_on_the_row_only(self, save, make_writer, by):
        table = rows()
        first = set(ids(write(make_writer(by), save(table)).written["eval"].path))
        turned = list(reversed(TYPES))
        random.Random(0).shuffle(table)
        again = write(make_writer(by), save(table[:200], turned, "b.parquet"))
        assert set(ids(again.written["eval"].path)) == first & {row["id"] for row in table[:200]}

    def test_rows_of_one_value_stay_together(self, save, make_writer):
        shard = write(make_writer("day"), save(rows()))
        days = [
            {e.features.feature["day"].bytes_list.value[0] for e in read(path)}
            for path in paths_of(shard).values()
        ]
        assert not days[0] & days[1]
        assert len(days[0] | days[1]) == 31

    def test_an_input_that_is_split_keeps_its_split(self, save, make_writer):
        shard = write(make_writer(splits=()), save(rows()), fixed="eval")
        assert rows_of(shard) == {"eval": 300}
        assert sorted(ids(shard.written["eval"].path)) == [*range(300)]


class TestRefusals:
    def test_a_row_without_a_value_to_split_by(self, save, make_writer):
        table = rows(10)
        table[4]["day"] = None
        path = save(table)
        with pytest.raises(DataBlockedError) as caught:
            write(make_writer("day"), path)
        assert caught.value.message.startswith(
            f"{path}: column 'day': 1 row(s) have no single value to split by"
        )

    @pytest.mark.parametrize(
        ("by", "problem"),
        [
            ("value", "column 'value': holds decimal numbers"),
            ("tags", "have no single value to split by"),
            ("missing", "column 'missing': the column to split by (data.split.by) is missing"),
        ],
    )
    def test_a_column_that_cannot_split(self, save, make_writer, by, problem):
        with pytest.raises(DataBlockedError) as caught:
            write(make_writer(by), save(rows(10)))
        assert problem in caught.value.message

    def test_a_label_column_that_is_missing(self, save, make_writer):
        path = save(rows(10), ("id", "day"))
        with pytest.raises(DataBlockedError, match="column 'y': the label's column is missing"):
            write(make_writer(required="y"), path)

    @pytest.mark.parametrize("by", ["day", None])
    @pytest.mark.parametrize("damage", ["truncated", "garbage", "csv", "other records"])
    def test_invalid_tfrecord_is_refused(self, tmp_path, make_writer, by, damage):
        path = tmp_path / "a.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            feature = {"day": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"d"]))}
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            for _ in range(100):
                is_other = damage == "other records"
                writer.write(b"\xff no proto" if is_other else example.SerializeToString())
        if damage == "truncated":
            path.write_bytes(path.read_bytes()[:-5])
        elif damage == "garbage":
            content = bytearray(path.read_bytes())
            content[500:510] = b"\xff" * 10
            path.write_bytes(content)
        elif damage == "csv":
            path.write_text("a,b\n1,2\n" * 10)
        with pytest.raises(DataBlockedError) as caught:
            write(make_writer(by), str(path), "tfrecord")
        assert caught.value.message.startswith(
            f"{path}: not a valid TFRecord file of tf.Examples: "
        )

    def test_a_tfrecord_without_a_value_to_split_by(self, tmp_path, make_writer):
        path = tmp_path / "a.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(tf.train.Example().SerializeToString())
        with pytest.raises(DataBlockedError, match="column 'day': has no integer or text"):
            write(make_writer("day"), str(path), "tfrecord")


class TestLabels:
    @pytest.mark.parametrize("by", ["day", None])
    def test_rows_without_a_label_are_left_out_and_counted(self, save, make_writer, by):
        table = rows()
        shard = write(make_writer(by, required="y"), save(table))
        kept = ids(shard.written["train"].path) + ids(shard.written["eval"].path)
        assert sorted(kept) == [row["id"] for row in table if row["y"] is not None]
        assert shard.left_out == 30
        assert sum(rows_of(shard).values()) == 270

    def test_leaving_rows_out_moves_no_other_row(self, save, make_writer):
        path = save(rows())
        with_all = set(ids(write(make_writer(), path).written["eval"].path))
        labelled = set(ids(write(make_writer(required="y"), path).written["eval"].path))
        assert labelled == {i for i in with_all if i % 10 != 3}

    @pytest.mark.parametrize("fixed", [None, "train"])
    def test_rows_of_tfrecords_are_left_out_too(self, tmp_path, save, make_writer, fixed):
        source = write(make_writer(splits=(("all", 1),)), save(rows())).written["all"].path
        path = tmp_path / "a.tfrecord.gz"
        Path(source).rename(path)
        shard = write(make_writer(required="y"), str(path), "tfrecord", fixed=fixed)
        assert (shard.left_out, sum(rows_of(shard).values())) == (30, 270)

    def test_all_are_kept_where_none_is_required(self, save, make_writer):
        shard = write(make_writer(), save(rows()))
        assert (shard.left_out, sum(rows_of(shard).values())) == (0, 300)


class TestContent:
    def test_values_are_unchanged(self, save, make_writer):
        shard = write(make_writer(splits=(("all", 1),)), save(rows(20)))
        examples = {
            e.features.feature["id"].int64_list.value[0]: e.features.feature
            for e in read(shard.written["all"].path)
        }
        for row in rows(20):
            features = examples[row["id"]]
            assert list(features["day"].bytes_list.value) == [row["day"].encode()]
            assert list(features["tags"].bytes_list.value) == [t.encode() for t in row["tags"]]
            value = [] if row["value"] is None else [pytest.approx(row["value"], rel=1e-6)]
            assert list(features["value"].float_list.value) == value

    def test_null_is_a_feature_without_a_kind_as_in_tfx(self, save, make_writer):
        shard = write(make_writer(splits=(("all", 1),)), save(rows(1)))
        (example,) = read(shard.written["all"].path)
        assert example.features.feature["value"] == tf.train.Feature()

    def test_rows_are_shuffled_the_same_way_each_time(self, save, make_writer, monkeypatch):
        monkeypatch.setattr(arrow_files, "PARQUET_ROWS", 100)
        path = save(rows())
        orders = [
            ids(write(make_writer(splits=(("all", 1),)), path).written["all"].path)
            for i in range(2)
        ]
        assert orders[0] == orders[1]
        assert orders[0] != sorted(orders[0])
        # Batches follow one another, each in an order of its own.
        assert {*orders[0][:100]} == {*range(100)}
        assert orders[0][:100] != [i - 100 for i in orders[0][100:200]]


class TestFinish:
    @pytest.fixture
    def out(self, tmp_path) -> Path:
        return tmp_path / "out"

    @pytest.fixture
    def commit(self, staging, out):
        return lambda parts: finish(parts, str(out), ["train", "eval"], staging)

    def visible(self, out: Path) -> list[str]:
        """Matches of a reader's pattern (`Split-train/*`), including hidden names, as in TFX."""
        return sorted(str(Path(p).relative_to(out)) for p in fileio.glob(f"{out}/Split-*/*"))

    def test_no_file_is_visible_before_the_commit(self, save, make_writer, out, commit):
        shard = write(make_writer("day"), save(rows()))
        assert self.visible(out) == []
        commit([shard])
        assert self.visible(out) == [
            "Split-eval/data_tfrecord-00000-of-00001.gz",
            "Split-train/data_tfrecord-00000-of-00001.gz",
        ]

    def test_shards_are_numbered_by_piece(self, save, make_writer, out, commit):
        writer = make_writer()
        shards = [
            write(writer, save(rows()[i * 100 : i * 100 + 100], name=f"{i}.parquet"))
            for i in range(3)
        ]
        commit(shards)
        for i in range(3):
            path = out / "Split-train" / f"data_tfrecord-{i:05d}-of-00003.gz"
            assert {n // 100 for n in ids(path)} == {i}

    def test_parts_add_up_to_the_file(self, save, make_writer, out, commit):
        path, writer = save(rows()), make_writer("day", required="y")
        whole = write(writer, path)
        wanted = {name: sorted(ids(path)) for name, path in paths_of(whole).items()}
        counted = commit([write(writer, path, part=part, parts=2) for part in (0, 1)])
        for name, numbers in wanted.items():
            shards = [out / f"Split-{name}" / f"data_tfrecord-0000{i}-of-00002.gz" for i in (0, 1)]
            assert all(map(ids, shards))
            assert sorted(ids(shards[0]) + ids(shards[1])) == numbers
        assert counted == {"splits": rows_of(whole), "left_out": whole.left_out}

    def test_rows_are_counted(self, save, make_writer, out, commit):
        writer = make_writer("day", required="y")
        counted = commit([write(writer, save(rows(), name=f"{i}.parquet")) for i in (0, 1)])
        assert counted["left_out"] == 60
        for name, count in counted["splits"].items():
            paths = sorted((out / f"Split-{name}").iterdir())
            assert sum(len(read(p)) for p in paths) == count
        assert sum(counted["splits"].values()) == 540

    def test_an_empty_split_has_a_file_that_can_be_read(self, save, make_writer, out, commit):
        one_day = [row for row in rows() if row["day"] == "2013-01-01"]
        counted = commit([write(make_writer("day"), save(one_day))])["splits"]
        assert sorted(counted.values()) == [0, len(one_day)]
        (empty,) = [name for name, count in counted.items() if count == 0]
        (path,) = (out / f"Split-{empty}").iterdir()
        assert read(path) == []

    def test_retried_bundle_does_not_mix_with_the_first_attempt(
        self, save, make_writer, out, commit
    ):
        writer, path = make_writer(), save(rows())
        write(writer, path)  # a worker that died after it had written
        assert self.visible(out) == []
        commit([write(writer, path)])
        found = [n for p in self.visible(out) for n in ids(out / p)]
        assert sorted(found) == [*range(300)]
