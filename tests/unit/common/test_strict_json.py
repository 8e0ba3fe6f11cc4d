"""JSON from files that others may have written."""

import json

import pytest

from ordain.common.strict_json import number, parse_json, whole_number


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


def test_numbers_are_numbers_and_nothing_like_them():
    for wrong in (True, 1.0, "1", None, [], -1, 2**63, 10**5000):
        with pytest.raises(ValueError, match="^x is "):
            whole_number(wrong, "x")
    for wrong in (True, "1", None, {}, float("nan"), float("inf"), 10**5000):
        with pytest.raises(ValueError, match="^x is "):
            number(wrong, "x")
    assert whole_number(2**63 - 1, "x") == 2**63 - 1
    assert number(3, "x") == 3.0
