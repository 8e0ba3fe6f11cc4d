"""Files to Arrow batches: what survives, and what is refused with file, column and row."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ordain.components.examples import arrow_files
from ordain.components.examples.arrow_types import FeatureType
from ordain.errors import DataBlockedError

INT, FLOAT, BYTES = FeatureType.INT, FeatureType.FLOAT, FeatureType.BYTES


def read_all(path: Path, kind: str = "csv") -> tuple[dict, list[dict]]:
    """Types and rows of a file, as ExampleGen would take them."""
    types = arrow_files.inspect(str(path), kind)
    settled = {name: type_ or BYTES for name, type_ in types.items()}
    rows = [row for b in arrow_files.read(str(path), kind, settled) for row in b.to_pylist()]
    in_parts = [
        row
        for part in range(3)
        for b in arrow_files.read(str(path), kind, settled, part, 3)
        for row in b.to_pylist()
    ]
    assert sorted(map(repr, in_parts)) == sorted(map(repr, rows))
    return types, rows


def refusal(path: Path, kind: str = "csv") -> str:
    with pytest.raises(DataBlockedError) as caught:
        read_all(path, kind)
    assert caught.value.message.startswith(f"{path}: ")
    return caught.value.message.removeprefix(f"{path}: ")


@pytest.fixture
def write(tmp_path):
    def make(content: bytes | str, name: str = "a.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(arrow_files, "CSV_BLOCK_BYTES", 64)


class TestFormat:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("a.csv", "csv"),
            ("a.csv.gz", "csv"),
            ("x/2013.01/a.b.csv", "csv"),
            ("a.parquet", "parquet"),
            ("a.pq", "parquet"),
            ("a.tfrecord", "tfrecord"),
            ("a.tfrecords", "tfrecord"),
            ("a.tfrecord.gz", "tfrecord"),
            ("gs://bucket/a.parquet", "parquet"),
        ],
    )
    def test_format_follows_the_name(self, name, kind):
        assert arrow_files.format_of(name) == kind

    @pytest.mark.parametrize("name", ["a", "a.json", "x.csv/a", "a.xlsx"])
    def test_unknown_suffix_is_refused(self, name):
        with pytest.raises(DataBlockedError) as caught:
            arrow_files.format_of(name)
        assert caught.value.message.startswith(f"{name}: cannot tell the format from the name")
        assert "data.format" in caught.value.hint


class TestCsv:
    @pytest.mark.parametrize(
        ("content", "types", "rows"),
        [
            ("a,b\n1,x\n2,y\n", (INT, BYTES), [([1], [b"x"]), ([2], [b"y"])]),
            ("a,b\r\n1,x\r\n", (INT, BYTES), [([1], [b"x"])]),
            ("a,b\n1,x", (INT, BYTES), [([1], [b"x"])]),
            ('a,b\n1,"x, y"\n', (INT, BYTES), [([1], [b"x, y"])]),
            ('a,b\n1,"x\ny"\n2,z\n', (INT, BYTES), [([1], [b"x\ny"]), ([2], [b"z"])]),
            ('a,b\n1,"say ""hi"""\n', (INT, BYTES), [([1], [b'say "hi"'])]),
            ('"a","b"\n"1","2"\n', (INT, INT), [([1], [2])]),
            ('"a,1",b\n1,2\n', (INT, INT), [([1], [2])]),
            ("a,b\n1,\n2,\n", (INT, None), [([1], None), ([2], None)]),
            ('a,b\n1,\n2,""\n', (INT, BYTES), [([1], None), ([2], [b""])]),
            ("a,b\n1,NA\n2,null\n", (INT, BYTES), [([1], [b"NA"]), ([2], [b"null"])]),
            ("a,b\n1,1.5\n2,2\n", (INT, FLOAT), [([1], [1.5]), ([2], [2.0])]),
            ("a,b\n1,007\n2,042\n", (INT, BYTES), [([1], [b"007"]), ([2], [b"042"])]),
            ("a,b\n1,true\n", (INT, BYTES), [([1], [b"true"])]),
            ("a,b\n9007199254740993,9223372036854775807\n", (INT, INT), None),
            ("a,b\nZürich,東京\n", (BYTES, BYTES), [(["Zürich".encode()], ["東京".encode()])]),
        ],
        ids=lambda value: json.dumps(value)[:30] if isinstance(value, str) else "",
    )
    def test_content_is_read_exactly(self, write, content, types, rows):
        found, read = read_all(write(content))
        assert tuple(found.values()) == types
        if rows is None:
            rows = [([2**53 + 1], [2**63 - 1])]
        assert [tuple(row.values()) for row in read] == rows

    def test_a_byte_order_mark_is_no_part_of_the_first_name(self, write):
        types, rows = read_all(write(b"\xef\xbb\xbfa,b\n1,2\n"))
        assert types == {"a": INT, "b": INT}
        assert rows == [{"a": [1], "b": [2]}]

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"", "empty"),
            (b" \n\n", "empty"),
            (b"a,b\n", "has a header and no rows"),
            (b"a,b", "no CSV header"),
            (b"a,b\n1\n", "a row does not have the header's 2 fields"),
            (b"a,b\n1,2,3\n", "a row does not have the header's 2 fields"),
            (b"a,b\n1,2\n3\n4,5\n", "Expected 2 columns, got 1: 3"),
            (b"a,a\n1,2\n", "the header has 'a' more than once"),
            (b"a,,c\n1,2,3\n", "the header's field 2 has no name"),
            (b"a,b,\n1,2,3\n", "the header's field 3 has no name"),
            (b"a,b\n1,\0\n", "contains NUL bytes"),
            ("a,b\n1,x\n".encode("utf-16"), "encoded as UTF-16"),
            ("a,b\n1,x\n".encode("utf-16-be"), "contains NUL bytes"),
            ("a,ü\n1,2\n".encode("latin-1"), "the header is not UTF-8"),
            (
                "a,b\n1,x\n2,Zürich\n".encode("latin-1"),
                "column 'b', row 2: is not UTF-8 (Latin-1?)",
            ),
        ],
    )
    def test_invalid_content_is_refused(self, write, content, problem):
        assert problem in refusal(write(content))

    def test_text_where_numbers_were_is_refused_with_its_row(self, write):
        path = write("a,b\n1,x\n2,y\nthree,z\n")
        with pytest.raises(DataBlockedError) as caught:
            list(arrow_files.read(str(path), "csv", {"a": INT, "b": BYTES}))
        assert caught.value.message == (
            f"{path}: column 'a', row 3: is not a number (INT expected) (got 'three')"
        )

    def test_a_row_of_a_part_has_its_number_in_the_file(self, write):
        path, types = write("a,b\n1,x\n2,y\nthree,z\n"), {"a": INT, "b": BYTES}
        (first,) = arrow_files.read(str(path), "csv", types, 0, 2)
        assert first.num_rows == 1
        with pytest.raises(DataBlockedError, match="column 'a', row 3: is not a number"):
            list(arrow_files.read(str(path), "csv", types, 1, 2))

    def test_the_type_is_settled_over_the_whole_file(self, write, small_blocks):
        content = "a,b\n" + "1,2\n" * 500 + "x,2.5\n"
        types, rows = read_all(write(content))
        assert types == {"a": BYTES, "b": FLOAT}
        assert (rows[0], rows[-1]) == ({"a": [b"1"], "b": [2.0]}, {"a": [b"x"], "b": [2.5]})
        assert len(rows) == 501

    def test_rows_are_counted_over_blocks(self, write, small_blocks):
        filler = b"1,aaaaaaaaaa\n" * 300
        assert "row 301: is not UTF-8" in refusal(write(b"a,b\n" + filler + b"1,\xfc\n"))
        assert "got 1: 5" in refusal(write(b"a,b\n" + filler + b"5\n"))
        path = write(b"a,b\n" + filler + b"x,a\n")
        with pytest.raises(DataBlockedError, match="column 'a', row 301: is not a number"):
            list(arrow_files.read(str(path), "csv", {"a": INT, "b": BYTES}))

    def test_a_quoted_value_may_lie_across_blocks(self, write, small_blocks):
        long = "line\n" * 10
        content = "a,b\n" + f'1,"{long}"\n' * 50
        assert read_all(write(content))[1] == [{"a": [1], "b": [long.encode()]}] * 50

    def test_a_header_is_read_though_its_file_is_cut_within_a_quote(self, write):
        # Names are looked for in the first MiB only; here that ends inside a quoted field.
        row = '1,"' + "x" * 70 + "\n" + "y" * 70 + '"\n'
        content = "a,b\n" + "1," + "z" * 40 + "\n" + row * 10_000
        assert content[: 1 << 20].count('"') % 2
        types = arrow_files.inspect(str(write(content)), "csv")
        assert types == {"a": INT, "b": BYTES}

    def test_only_requested_columns_are_read(self, write):
        path = write("a,b,c\n1,2,3\n")
        (batch,) = arrow_files.read(str(path), "csv", {"c": INT, "a": INT, "missing": INT})
        assert batch.to_pylist() == [{"c": [3], "a": [1]}]


class TestGzip:
    content = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * 7919 % 1_000_003) for i in range(150_000))

    @pytest.fixture(scope="class")
    def whole(self) -> bytes:
        return gzip.compress(self.content)

    def test_gzip_is_read_as_its_content(self, write):
        path = write(gzip.compress(b"a,b\n1,x\n"), "a.csv.gz")
        assert read_all(path) == ({"a": INT, "b": BYTES}, [{"a": [1], "b": [b"x"]}])

    def test_several_members_are_one_file(self, write):
        members = gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n")
        assert len(read_all(write(members, "a.csv.gz"))[1]) == 2

    @pytest.mark.parametrize("kept", [0.001, 0.5, 0.9999])
    def test_a_truncated_one_is_refused(self, write, whole, kept):
        path = write(whole[: int(len(whole) * kept)], "a.csv.gz")
        assert "Truncated compressed stream" in refusal(path)

    def test_a_damaged_one_is_refused(self, write, whole):
        middle = len(whole) // 2
        damaged = whole[:middle] + b"\xff" * 200 + whole[middle + 200 :]
        assert "zlib inflate failed" in refusal(write(damaged, "a.csv.gz"))

    def test_a_wrong_checksum_is_refused(self, write, whole):
        damaged = whole[:-8] + bytes(4) + whole[-4:]
        assert "incorrect data check" in refusal(write(damaged, "a.csv.gz"))

    def test_plain_text_of_that_name_is_refused(self, write):
        assert "incorrect header check" in refusal(write("a,b\n1,2\n", "a.csv.gz"))


class TestParquet:
    @pytest.fixture
    def save(self, tmp_path):
        def make(table: pa.Table, **options) -> Path:
            path = tmp_path / "a.parquet"
            pq.write_table(table, path, **options)
            return path

        return make

    def test_every_column_is_read_exactly(self, save):
        table = pa.table(
            {
                "int": [2**53 + 1, None],
                "float": pa.array([1.5, None], pa.float32()),
                "text": ["Zürich, 'x'\n", None],
                "bool": [True, None],
                "when": pa.array([0, None], pa.timestamp("ms", "UTC")),
                "list": [[1, 2], None],
                "none": pa.nulls(2),
                "kind": pa.array(["a", None]).dictionary_encode(),
            }
        )
        types, rows = read_all(save(table), "parquet")
        assert types == {
            "int": INT,
            "float": FLOAT,
            "text": BYTES,
            "bool": INT,
            "when": BYTES,
            "list": INT,
            "none": None,
            "kind": BYTES,
        }
        assert rows[0] == {
            "int": [2**53 + 1],
            "float": [1.5],
            "text": ["Zürich, 'x'\n".encode()],
            "bool": [1],
            "when": [b"1970-01-01T00:00:00.000Z"],
            "list": [1, 2],
            "none": None,
            "kind": [b"a"],
        }
        assert set(rows[1].values()) == {None}

    def test_rows_are_counted_over_batches(self, save, monkeypatch):
        monkeypatch.setattr(arrow_files, "PARQUET_ROWS", 100)
        path = save(pa.table({"a": [*range(250), 2**63]}, pa.schema([("a", pa.uint64())])))
        assert "column 'a', row 251: does not fit INT exactly" in refusal(path, "parquet")

    @pytest.mark.parametrize(
        "kind", [pa.decimal128(5, 2), pa.struct([("x", pa.int64())]), pa.time32("ms")], ids=str
    )
    def test_unsupported_type_is_refused_with_its_column(self, save, kind):
        path = save(pa.table({"ok": [1], "odd": pa.nulls(1, kind)}))
        assert f"column 'odd': {kind} has no lossless representation" in refusal(path, "parquet")

    def test_a_column_that_is_there_twice_is_refused(self, save):
        table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
        assert "has column 'a' more than once" in refusal(save(table), "parquet")

    def test_one_without_columns_is_refused(self, save):
        assert "has no columns" in refusal(save(pa.table({})), "parquet")

    def test_file_without_rows_has_types_only(self, save):
        table = pa.table({"a": pa.array([], pa.int64())})
        assert read_all(save(table), "parquet") == ({"a": INT}, [])

    @pytest.fixture
    def table(self) -> pa.Table:
        numbers = np.random.default_rng(0).integers(0, 10**9, 20_000)
        return pa.table({"a": numbers, "b": [str(n) for n in numbers]})

    @pytest.mark.parametrize("cut", [1, 8, 100, 10_000])
    def test_a_truncated_one_is_refused(self, save, table, cut):
        path = save(table)
        path.write_bytes(path.read_bytes()[:-cut])
        assert "not a valid Parquet file" in refusal(path, "parquet")

    @pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n"])
    def test_other_content_is_refused(self, write, content):
        assert "not a valid Parquet file" in refusal(write(content, "a.parquet"), "parquet")

    def test_a_missing_one_is_refused(self, tmp_path):
        assert "No such file" in refusal(tmp_path / "a.parquet", "parquet")

    @pytest.mark.parametrize(
        "options",
        [
            {"compression": "snappy"},
            # Without compression only a checksum tells.
            {"compression": "none", "use_dictionary": False, "write_page_checksum": True},
            {"compression": "zstd", "use_dictionary": False, "write_page_checksum": True},
        ],
    )
    def test_a_damaged_page_is_refused(self, save, table, options):
        path = save(table, **options)
        content = bytearray(path.read_bytes())
        content[20_000:20_500] = b"\x5a" * 500
        path.write_bytes(content)
        assert "damaged Parquet data" in refusal(path, "parquet")
