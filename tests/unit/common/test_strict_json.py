"""Strict JSON: invalid text and records are errors that name the cause."""

import json
from dataclasses import dataclass

import pytest

from ordain.common.strict_json import (
    FORBID_EXTRA,
    WholeNumber,
    object_of,
    parse_json,
    parse_record,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (
            '{"a": [1, -2.5e3, null, true, "\\u00e4\\ud83d\\ude00"]}',
            {"a": [1, -2500.0, None, True, "ä😀"]},
        ),
        (b"[]", []),
        ("1e308", 1e308),
        (json.dumps({str(i): i for i in range(1000)}), {str(i): i for i in range(1000)}),
    ],
)
def test_what_is_json_is_read(text, value):
    assert parse_json(text) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Expecting value"),
        ("NaN", "it contains NaN"),
        ("[-Infinity]", "it contains -Infinity"),
        ("[1e309]", "the number 1e309, which is too large"),
        ("9" * 5000, "more than 4300 digits"),
        ("[" * 10**6, "nested too deep"),
        ('{"a":' * 10**5, "nested too deep"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' twice"),
        (r'["\ud800"]', "not valid UTF-8"),
        (r'{"\uDFFF": 1}', "not valid UTF-8"),
        (b"\xff", "not valid UTF-8"),
    ],
)
def test_what_no_file_of_ours_holds_is_a_value_error(text, words):
    with pytest.raises(ValueError, match=words):
        parse_json(text)


@dataclass(frozen=True)
class Item:
    __pydantic_config__ = FORBID_EXTRA

    count: WholeNumber
    share: float | None = None


@dataclass(frozen=True)
class Record:
    name: str = ""
    items: tuple[Item, ...] = ()


def test_a_record_is_read_as_it_is_written():
    record = Record("x", (Item(2**63 - 1), Item(0, 3.0)))
    assert parse_record(json.dumps(object_of(record)), Record) == record


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "the file must be an object, got a list"),
        ('{"name": "x"}', "items is missing"),
        ('{"name": 1, "items": []}', "name must be a valid string, got 1"),
        *(
            (f'{{"name": "x", "items": [{{"count": {count}}}]}}', "items.0.count must be ")
            for count in ("true", "1.0", '"1"', "null", "[]", "-1", str(2**63), "1" + "0" * 4000)
        ),
        *(
            (f'{{"name": "x", "items": [{{"count": 1, "share": {share}}}]}}', "items.0.share must")
            for share in ("true", '"1"', "{}", "1" + "0" * 4000)
        ),
        ('{"name": "x", "items": [{}]}', "items.0.count is missing"),
        ('{"name": "x", "items": [{"count": 1, "a\\nb": 1}]}', r"items.0.a\nb is an unknown key"),
    ],
)
def test_another_record_is_a_value_error_that_names_the_key(text, expected):
    with pytest.raises(ValueError) as caught:
        parse_record(text, Record)
    message = str(caught.value)
    assert message.startswith(expected) and len(message) < 300 and "\n" not in message
