"""ArrowExampleGen around the reading: types over a whole span, options, files."""

import pytest

from ordain.components.examples.arrow_types import FeatureType
from ordain.components.examples.example_gen import (
    ArrowExampleGen,
    IngestOptions,
    _files,
    read_rows,
    settle_types,
)
from ordain.errors import DataBlockedError

INT, FLOAT, BYTES = FeatureType.INT, FeatureType.FLOAT, FeatureType.BYTES


@pytest.fixture
def settle(tmp_path):
    def run(*contents: str, **prescribed: str) -> dict[str, FeatureType]:
        files = []
        for number, content in enumerate(contents):
            path = tmp_path / f"{number}.csv"
            path.write_text(content)
            files.append((str(path), "csv"))
        return settle_types(files, prescribed)

    return run


class TestSettleTypes:
    @pytest.mark.parametrize(
        ("contents", "expected"),
        [
            (["a,b\n1,x\n", "a,b\n2,y\n"], {"a": INT, "b": BYTES}),
            (["a,b\n1,x\n", "a,b\n2.5,y\n"], {"a": FLOAT, "b": BYTES}),
            (["a,b\n2.5,x\n", "a,b\n1,y\n"], {"a": FLOAT, "b": BYTES}),
            (["a,b\n1,x\n", "a,b\none,y\n"], {"a": BYTES, "b": BYTES}),
            (["a,b\n,x\n", "a,b\n1,y\n"], {"a": INT, "b": BYTES}),
            (["a,b\n1,x\n", "a,b\n,y\n"], {"a": INT, "b": BYTES}),
            (["a,b\n,x\n", "a,b\n,y\n"], {"a": BYTES, "b": BYTES}),
            (["a,b\n1,x\n", "b,a\nx,1\n"], {"a": INT, "b": BYTES}),
        ],
    )
    def test_types_are_settled_over_all_files_of_a_span(self, settle, contents, expected):
        assert settle(*contents) == expected

    def test_frozen_schema_overrides_inferred_types(self, settle):
        assert settle("a,b\n1,2\n", a="FLOAT", z="INT") == {"a": FLOAT, "b": INT}

    @pytest.mark.parametrize(
        ("contents", "odd"),
        [
            (["a,b\n1,2\n", "a\n1\n"], "'b'"),
            (["a\n1\n", "a,c\n1,2\n"], "'c'"),
            (["a,b\n1,2\n", "a,c\n1,2\n"], "'b', 'c'"),
        ],
    )
    def test_files_with_other_columns_are_refused(self, settle, tmp_path, contents, odd):
        with pytest.raises(DataBlockedError) as caught:
            settle(*contents)
        first, second = tmp_path / "0.csv", tmp_path / "1.csv"
        message = f"{second}: columns differ from {first} in the same span: {odd}"
        assert caught.value.message == message

    def test_parquet_files_with_types_that_have_nothing_in_common_are_refused(self, tmp_path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        files = []
        for name, values in (("0", [1]), ("1", ["x"])):
            pq.write_table(pa.table({"a": values}), tmp_path / f"{name}.parquet")
            files.append((str(tmp_path / f"{name}.parquet"), "parquet"))
        with pytest.raises(DataBlockedError, match=r"1.parquet: column 'a' is BYTES, .* INT"):
            settle_types(files, {})


class TestOptions:
    @pytest.mark.parametrize(
        "options",
        [
            IngestOptions(),
            IngestOptions("csv", {"größe": "INT", "a": "BYTES"}, "größe", True),
        ],
    )
    def test_options_survive_tfx_serialization(self, options):
        generator = ArrowExampleGen("/data", "*", options, {"train": 2, "eval": 1})
        assert IngestOptions.from_property(generator.exec_properties["custom_config"]) == options

    def test_missing_options_are_the_defaults(self):
        assert IngestOptions.from_property(None) == IngestOptions()

    def test_the_order_of_types_does_not_change_the_cache_key(self):
        one = IngestOptions(types={"a": "INT", "b": "FLOAT"}).to_custom_config()
        other = IngestOptions(types={"b": "FLOAT", "a": "INT"}).to_custom_config()
        assert one == other

    @pytest.mark.parametrize(("by", "is_set"), [("day", True), (None, False), ("", False)])
    def test_splits_are_configured_as_in_tfx(self, by, is_set):
        from tfx.proto import example_gen_pb2
        from tfx.utils import proto_utils

        generator = ArrowExampleGen("/data", "*", IngestOptions(), {"train": 3, "eval": 1}, by)
        config = example_gen_pb2.Output()
        proto_utils.json_to_proto(generator.exec_properties["output_config"], config)
        assert [(s.name, s.hash_buckets) for s in config.split_config.splits] == [
            ("train", 3),
            ("eval", 1),
        ]
        assert config.split_config.HasField("partition_feature_name") is is_set


class TestFiles:
    def test_files_are_sorted_without_hidden_ones(self, tmp_path):
        for name in ("b.csv", "a.csv", ".hidden", "_SUCCESS", "folder/c.csv"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("x")
        assert _files(str(tmp_path), "*") == [f"{tmp_path}/a.csv", f"{tmp_path}/b.csv"]

    def test_no_match_is_refused_with_the_pattern(self, tmp_path):
        with pytest.raises(DataBlockedError, match=r"\*.csv: no file matches"):
            _files(str(tmp_path), "*.csv")


def test_rows_are_read_from_the_artifact():
    from tfx.types import standard_artifacts

    examples = standard_artifacts.Examples()
    assert read_rows(examples) == {}
    examples.set_string_custom_property("rows", '{"splits": {"train": 1}, "left_out": 0}')
    assert read_rows(examples) == {"splits": {"train": 1}, "left_out": 0}
