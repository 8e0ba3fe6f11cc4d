"""The curated schema file: read, written whole, compared, and taken over feature by feature."""

import errno
import os

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from ordain.errors import ConfigError, InfrastructureError
from ordain.project.schema import compare, feature_types, read_schema, restrict, write_schema

FROZEN = """
feature { name: "age" type: INT int_domain { min: 0 max: 120 } }
feature { name: "color" type: BYTES domain: "color" }
feature { name: "size" type: BYTES domain: "size" }
feature { name: "weight" type: FLOAT presence { min_fraction: 1.0 } }
string_domain { name: "color" value: "red" value: "blue" }
string_domain { name: "size" value: "S" value: "M" }
"""


def schema(text: str = FROZEN) -> schema_pb2.Schema:
    return text_format.Parse(text, schema_pb2.Schema())


class TestCompare:
    @pytest.mark.parametrize(
        ("old", "new", "lines"),
        [
            ("", "", []),
            (
                "max: 120",
                "max: 130",
                ["~ feature age", "    -   max: 120", "    +   max: 130"],
            ),
            (
                'value: "red" value: "blue"',
                'value: "red" value: "blue" value: "green"',
                ["~ feature color", '    + value: "green"'],
            ),
            (
                'feature { name: "size" type: BYTES domain: "size" }',
                "",
                ["- feature size"],
            ),
            (
                'string_domain { name: "color"',
                'feature { name: "new" type: INT } string_domain { name: "color"',
                ["+ feature new", '    name: "new"', "    type: INT"],
            ),
        ],
        ids=["equal", "changed", "domain", "removed", "added"],
    )
    def test_the_difference_is_told_feature_by_feature(self, old, new, lines):
        assert compare(schema(), schema(FROZEN.replace(old, new, 1) if old else FROZEN)) == lines

    def test_the_order_of_features_is_no_difference(self):
        turned = schema()
        features = list(reversed(turned.feature))
        del turned.feature[:]
        turned.feature.extend(features)
        assert compare(schema(), turned) == []


class TestRestrict:
    @pytest.fixture
    def proposed(self):
        text = FROZEN.replace("max: 120", "max: 130").replace('value: "blue"', 'value: "green"')
        text = text.replace('feature { name: "size" type: BYTES domain: "size" }', "")
        return schema(text + 'feature { name: "new" type: INT }')

    @pytest.mark.parametrize(
        ("names", "changed"),
        [
            (set(), []),
            ({"age"}, ["~ feature age"]),
            ({"color"}, ["~ feature color"]),
            ({"new"}, ["+ feature new"]),
            ({"age", "new"}, ["+ feature new", "~ feature age"]),
        ],
    )
    def test_only_the_named_features_change(self, proposed, names, changed):
        lines = compare(schema(), restrict(schema(), proposed, names))
        assert sorted(line for line in lines if line[0] != " ") == changed

    def test_a_named_feature_is_as_proposed_its_domain_included(self, proposed):
        result = restrict(schema(), proposed, {"color"})
        (domain,) = [d for d in result.string_domain if d.name == "color"]
        assert list(domain.value) == ["red", "green"]

    def test_neither_schema_is_changed(self, proposed):
        before = schema(), schema(text_format.MessageToString(proposed))
        frozen = schema()
        restrict(frozen, proposed, {"age", "color", "new"})
        assert (frozen, proposed) == before


class TestFile:
    def test_what_is_written_reads_back_the_same(self, tmp_path):
        path = tmp_path / "a" / "schema.pbtxt"
        write_schema(schema(FROZEN.replace("red", "röd \\n")), path)
        assert read_schema(path) == schema(FROZEN.replace("red", "röd \\n"))
        assert [p.name for p in path.parent.iterdir()] == ["schema.pbtxt"]

    def test_a_failed_write_leaves_the_old_one(self, tmp_path, monkeypatch):
        path = tmp_path / "schema.pbtxt"
        write_schema(schema(), path)

        def fail(descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(InfrastructureError, match="schema.pbtxt cannot be written.*No space"):
            write_schema(schema_pb2.Schema(), path)
        assert read_schema(path) == schema()
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b'feature { name: "x" }\nfeature { nam: "y" }', "2:11"),
            (b"feature {\n", "1:"),
            (b'feature { name: "\xfc" }', "cannot be read"),
        ],
    )
    def test_a_bad_one_is_refused_with_the_line(self, tmp_path, content, problem):
        path = tmp_path / "schema.pbtxt"
        path.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            read_schema(path)
        assert caught.value.message.startswith(str(path))
        assert problem in caught.value.message

    def test_a_missing_one_is_refused_by_name(self, tmp_path):
        with pytest.raises(ConfigError, match=r"schema.pbtxt cannot be read"):
            read_schema(tmp_path / "schema.pbtxt")


class TestFeatureTypes:
    def test_are_those_of_the_file(self, tmp_path):
        path = tmp_path / "schema.pbtxt"
        write_schema(schema(FROZEN + 'feature { name: "untyped" }'), path)
        types = {"age": "INT", "color": "BYTES", "size": "BYTES", "weight": "FLOAT"}
        assert feature_types(path) == types

    def test_are_none_before_it_is_frozen(self, tmp_path):
        assert feature_types(tmp_path / "schema.pbtxt") == {}
