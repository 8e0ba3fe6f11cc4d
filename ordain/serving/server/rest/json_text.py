"""Parses and writes JSON in the dialect of TensorFlow Serving's REST API, within limits.

The dialect also has `NaN`, `Infinity` and `-Infinity`, in requests and responses
(https://www.tensorflow.org/tfx/serving/api_rest, "JSON conformance").
"""

from __future__ import annotations

import json
import re
from typing import Any

from ordain.serving.server.errors import RequestError, invalid

# Possessive, with an optional closing quote: linear time for any input.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_SAME_BRACKET = bytes.maketrans(b"{}", b"[]")
#: A number too large for a double has such an exponent or this many digits.
_LARGE_NUMBER = re.compile(rb"[eE]\+?0*[1-9][0-9]{2}|[0-9]{300}")
#: Longest piece of a request quoted in an error.
MAX_QUOTE = 80


def parse_object(body: bytes, max_depth: int) -> dict[str, Any]:
    """Parses the JSON object of a request.

    Raises:
        RequestError: The body is not UTF-8, not JSON, not an object, nested too deep, or holds a
            number too large for a double.
    """
    if not body.strip():
        raise invalid("JSON Parse error: The document is empty")
    _check_depth(body, max_depth)
    parse_float = _finite if _LARGE_NUMBER.search(body) else None
    try:
        value = json.loads(body.decode("utf-8"), parse_float=parse_float)
    except UnicodeDecodeError as error:
        raise invalid(f"JSON Parse error: the body is not UTF-8 at offset: {error.start}") from None
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except RecursionError:
        raise invalid(f"JSON Parse error: nested deeper than {max_depth} levels") from None
    except RequestError:
        raise
    except ValueError as error:  # an integer of more digits than Python converts
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {quote(value)} Is not object")
    return value


def write(value: Any) -> bytes:
    """Writes a response's JSON, in one line."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": ")).encode() + b"\n"


def quote(value: Any) -> str:
    """Quotes a piece of a request in an error, truncated to `MAX_QUOTE` characters."""
    if isinstance(value, (list, dict)) and len(value) > MAX_QUOTE:
        value = value[:MAX_QUOTE] if isinstance(value, list) else list(value)[:MAX_QUOTE]
    try:
        # As ASCII, because half a surrogate pair cannot be encoded.
        text = json.dumps(value, ensure_ascii=True)
    except (RecursionError, ValueError):
        return f"a {type(value).__name__}"
    return text if len(text) <= MAX_QUOTE else text[:MAX_QUOTE] + "..."


def _check_depth(body: bytes, max_depth: int) -> None:
    """Refuses deep nesting before the recursive parser sees it.

    Only brackets are counted: each round removes the innermost pairs, so brackets that are left
    after `max_depth` rounds are nested deeper, or do not match, which the parser reports.
    """
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return
    brackets = _STRING.sub(b"", body).translate(_SAME_BRACKET, _NO_BRACKET)
    for _ in range(max_depth):
        shorter = brackets.replace(b"[]", b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
    opened = len(brackets) - len(brackets.lstrip(b"["))
    if opened > max_depth or b"[]" in brackets:
        raise invalid(f"JSON Parse error: nested deeper than {max_depth} levels")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise invalid("JSON Parse error: Number too big to be stored in double.")
    return value
