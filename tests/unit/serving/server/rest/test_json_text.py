"""JSON within limits."""

import math
import time

import pytest

from ordain.serving.server.errors import RequestError
from ordain.serving.server.rest.json_text import parse_object, quote, write


def refused(body: bytes) -> str:
    with pytest.raises(RequestError) as caught:
        parse_object(body)
    assert caught.value.code.http == 400
    return caught.value.message


def test_not_a_number_and_infinities_are_read_and_written():
    found = parse_object(b'{"a": [NaN, Infinity, -Infinity]}')["a"]
    assert math.isnan(found[0])
    assert found[1:] == [math.inf, -math.inf]
    assert write({"a": found}) == b'{"a": [NaN, Infinity, -Infinity]}\n'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "document is empty"),
        (b" \n", "document is empty"),
        (b'{"a": 1', "at line 1 column 7"),
        (b'{"a": "\xff"}', "invalid unicode code point at line 1 column 8"),
        (b"[1]", "Is not object"),
        (b'{"a": 1e999}', "too big"),
        (b'{"a": -1E+400}', "too big"),
        (b'{"a": ' + b"9" * 400 + b".0}", "too big"),
        (b'{"a": ' + b"9" * 5000 + b"}", "Parse error"),
    ],
)
def test_refuses(body, words):
    assert words in refused(body)


@pytest.mark.parametrize("exponent", [b"1e308", b"1e-400", b"1e+00300", b"0.1e300"])
def test_large_numbers_that_fit_are_read(exponent):
    assert parse_object(b'{"a": ' + exponent + b"}")["a"] == float(exponent)


class TestDepth:
    def nested(self, depth: int) -> bytes:
        return b'{"a": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"

    def test_up_to_the_limit(self):
        parse_object(self.nested(200))
        assert "recursion limit exceeded" in refused(self.nested(300))

    def test_many_lists_side_by_side_are_not_deep(self):
        assert len(parse_object(b'{"a": [' + b"[[1]]," * 999 + b"[]]}")["a"]) == 1000

    def test_brackets_in_texts_do_not_count(self):
        body = b'{"a": "' + b"[" * 300 + b'\\"[[[", "b": [' + b"[]," * 20 + b"[]]}"
        assert parse_object(body)["a"].startswith("[")

    @pytest.mark.parametrize(
        "body",
        [
            b'{"a": ' + b"[" * 1_000_000,
            b'{"a": ' * 200_000,
            b'{"a": "' + b'\\"[' * 300_000,
            b'"[{' * 300_000,
            b'{"a": ' + b"[" * 500_000 + b"]" * 500_000 + b"}",
            b"\\" * 1_000_000 + b"[" * 300,
        ],
    )
    def test_hostile_bodies_are_refused(self, body):
        started = time.monotonic()
        refused(body)
        assert time.monotonic() - started < 20


def test_quotes_are_short_and_encodable():
    assert quote("x" * 1000) == '"' + "x" * 79 + "..."
    assert quote("\ud800") == '"\\ud800"'
    assert len(quote([["x"] * 1000] * 1000)) <= 83
