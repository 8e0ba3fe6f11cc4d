"""Spans of a folder, by TFX's own rules, without TFX."""

import re
from pathlib import Path

import pytest

from ordain.config.data import Data
from ordain.errors import ConfigError
from ordain.project.spans import Span, describe_span, find_spans, select_window

# Pattern, files, and what is found: (span, version, files).
FOLDERS = {
    "spans sort as numbers": (
        "{SPAN}/*.csv",
        ["1/a.csv", "2/a.csv", "10/b.csv", "10/a.csv"],
        [(1, None, ["1/a.csv"]), (2, None, ["2/a.csv"]), (10, None, ["10/a.csv", "10/b.csv"])],
    ),
    "span zero": ("{SPAN}/*.csv", ["0/a.csv"], [(0, None, ["0/a.csv"])]),
    "span in the file's name": (
        "day-{SPAN}.csv",
        ["day-1.csv", "day-12.csv"],
        [(1, None, ["day-1.csv"]), (12, None, ["day-12.csv"])],
    ),
    "a padded folder is not the plain span": (
        "{SPAN}/*.csv",
        ["01/a.csv", "2/a.csv"],
        [(2, None, ["2/a.csv"])],
    ),
    "width": (
        "{SPAN:3}/*.csv",
        ["001/a.csv", "010/a.csv", "999/a.csv"],
        [(1, None, ["001/a.csv"]), (10, None, ["010/a.csv"]), (999, None, ["999/a.csv"])],
    ),
    "highest version as a number": (
        "{SPAN}/v{VERSION}/*.csv",
        ["1/v1/a.csv", "1/v2/a.csv", "1/v10/a.csv", "2/v3/a.csv"],
        [(1, 10, ["1/v10/a.csv"]), (2, 3, ["2/v3/a.csv"])],
    ),
    "version zero": ("{SPAN}/v{VERSION}/*", ["1/v0/a.csv"], [(1, 0, ["1/v0/a.csv"])]),
    "widths of both": (
        "{SPAN:2}/v{VERSION:3}/*.csv",
        ["01/v001/a.csv", "01/v010/a.csv", "02/v009/b.csv"],
        [(1, 10, ["01/v010/a.csv"]), (2, 9, ["02/v009/b.csv"])],
    ),
    "version beside the span": (
        "{SPAN}-{VERSION}/*.csv",
        ["1-1/a.csv", "1-2/a.csv"],
        [(1, 2, ["1-2/a.csv"])],
    ),
    "dates": (
        "{YYYY}-{MM}-{DD}/*.csv",
        ["2013-01-31/a.csv", "2013-02-01/a.csv", "1970-01-01/a.csv"],
        [
            (0, None, ["1970-01-01/a.csv"]),
            (15736, None, ["2013-01-31/a.csv"]),
            (15737, None, ["2013-02-01/a.csv"]),
        ],
    ),
    "dates without anything between": (
        "{YYYY}{MM}{DD}.csv",
        ["20130131.csv", "20130201.csv"],
        [(15736, None, ["20130131.csv"]), (15737, None, ["20130201.csv"])],
    ),
    "dates in another order, with a version": (
        "{DD}.{MM}.{YYYY}/{VERSION}/*",
        ["01.01.2013/1/a.csv", "01.01.2013/2/a.csv", "02.01.2013/1/a.csv"],
        [(15706, 2, ["01.01.2013/2/a.csv"]), (15707, 1, ["02.01.2013/1/a.csv"])],
    ),
    "question mark": (
        "{SPAN}/part-?.csv",
        ["1/part-1.csv", "1/part-12.csv"],
        [(1, None, ["1/part-1.csv"])],
    ),
    "letters that mean something in a regular expression": (
        "{SPAN}/a+(b).csv",
        ["1/a+(b).csv"],
        [(1, None, ["1/a+(b).csv"])],
    ),
    "folders below the span": (
        "{SPAN}/*/*.csv",
        ["1/x/a.csv", "1/y/b.csv", "1/c.csv"],
        [(1, None, ["1/x/a.csv", "1/y/b.csv"])],
    ),
}


@pytest.fixture
def make_tree(tmp_path: Path):
    def make(pattern: str, files: list[str]) -> Data:
        for name in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("x" * len(name))
        return Data(path=tmp_path, pattern=pattern, label="y")

    return make


def named(spans: list[Span], data: Data) -> list[tuple]:
    return [
        (s.number, s.version, [f.relative_to(data.path).as_posix() for f in s.files]) for s in spans
    ]


@pytest.mark.parametrize(("pattern", "files", "expected"), FOLDERS.values(), ids=FOLDERS)
class TestFolders:
    def test_spans_are_found(self, make_tree, pattern, files, expected):
        data = make_tree(pattern, files)
        spans = find_spans(data)
        assert named(spans, data) == expected
        assert [s.size_bytes for s in spans] == [sum(map(len, names)) for *_, names in expected]

    def test_tfx_resolves_each_to_the_same_files(self, make_tree, pattern, files, expected):
        from tfx.components.example_gen import input_processor
        from tfx.dsl.io import fileio
        from tfx.proto import example_gen_pb2, range_config_pb2

        data = make_tree(pattern, files)
        for number, version, names in expected:
            one = range_config_pb2.StaticRange(start_span_number=number, end_span_number=number)
            processor = input_processor.FileBasedInputProcessor(
                str(data.path),
                [example_gen_pb2.Input.Split(name="all", pattern=pattern)],
                range_config_pb2.RangeConfig(static_range=one),
            )
            resolved = processor.resolve_span_and_version()
            assert resolved == (number, version)
            filled = processor.get_pattern_for_span_version(pattern, *resolved)
            found = [
                str(Path(p).relative_to(data.path)) for p in fileio.glob(f"{data.path}/{filled}")
            ]
            assert sorted(found) == names


@pytest.mark.parametrize(
    ("pattern", "files", "kept"),
    [
        ("{SPAN}/*", ["1/a", "1/.hidden", "1/_SUCCESS"], ["1/a"]),
        ("*", ["b.csv", "a.csv", ".h", "_x"], ["a.csv", "b.csv"]),
        ("{SPAN}/*", ["1/a", "latest/a", "1x/a", "-1/a", "١/a"], ["1/a"]),
        ("{SPAN:1}/*", ["1/a", "١/a"], ["1/a"]),
        ("{SPAN}/v{VERSION}/*", ["1/v1/a", "1/vold/a"], ["1/v1/a"]),
        ("{SPAN}/*", ["1/a", "1/folder/b"], ["1/a"]),
    ],
)
def test_what_is_no_data_is_passed_over(make_tree, pattern, files, kept):
    data = make_tree(pattern, files)
    assert [names for *_, names in named(find_spans(data), data)] == [kept]


def test_without_a_span_in_the_pattern_everything_is_span_zero(make_tree):
    data = make_tree("*.csv", ["a.csv", "b.csv"])
    assert named(find_spans(data), data) == [(0, None, ["a.csv", "b.csv"])]


def test_a_missing_folder_is_named(tmp_path):
    data = Data(path=tmp_path / "nowhere", label="y")
    with pytest.raises(ConfigError, match=re.escape(f"data.path: {tmp_path / 'nowhere'} is not")):
        find_spans(data)


@pytest.mark.parametrize("files", [[], ["a.txt"], ["x/a.csv"], [".hidden/a.csv"]])
def test_a_pattern_without_files_is_named(make_tree, files):
    with pytest.raises(ConfigError, match=r"data.pattern: no file in .* matches '\{SPAN\}/\*.csv'"):
        find_spans(make_tree("{SPAN}/*.csv", files))


def test_a_folder_that_is_no_date_is_named(make_tree):
    data = make_tree("{YYYY}-{MM}-{DD}/*", ["2013-02-30/a"])
    with pytest.raises(ConfigError, match="2013-02-30/a: not a valid date by data.pattern"):
        find_spans(data)


def spans_of(*numbers: int) -> list[Span]:
    return [Span(n, None, (), 0) for n in numbers]


@pytest.mark.parametrize(
    ("window", "newest", "chosen"),
    [
        (1, None, [9]),
        (2, None, [5, 9]),
        (99, None, [1, 3, 5, 9]),
        (2, 5, [3, 5]),
        (1, 1, [1]),
        (3, 3, [1, 3]),
    ],
)
def test_a_window_is_the_newest_spans_up_to_one(window, newest, chosen):
    assert [s.number for s in select_window(spans_of(1, 3, 5, 9), window, newest)] == chosen


def test_a_window_ends_with_a_span_that_exists():
    with pytest.raises(ConfigError) as caught:
        select_window(spans_of(1, 3, 5, 9), 2, 4)
    assert caught.value.message == "--span 4: there is no such span"
    assert caught.value.hint == "newest spans: 1, 3, 5, 9"


@pytest.mark.parametrize(
    ("pattern", "number", "text"),
    [
        ("{YYYY}-{MM}-{DD}/*", 15736, "2013-01-31"),
        ("{YYYY}-{MM}-{DD}/*", 0, "1970-01-01"),
        ("{SPAN}/*", 15736, "15736"),
        ("*", 0, "0"),
    ],
)
def test_a_span_is_named_as_its_folder_is(pattern, number, text):
    assert describe_span(number, Data(path=Path(), pattern=pattern, label="y")) == text
