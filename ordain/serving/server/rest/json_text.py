"""JSON in and out, within limits, in the dialect of TF Serving's REST API.

The dialect is JSON with `NaN`, `Infinity` and `-Infinity`, in requests and in answers
(https://www.tensorflow.org/tfx/serving/api_rest, "JSON conformance").
"""

from __future__ import annotations

import json
import re
from typing import Any

from ordain.serving.server.errors import RequestError, invalid

# Possessive, and without need of a closing quote: linear in whatever a client sends.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
#: Only a number with such an exponent, or this many digits, can be too large for a double.
_LARGE_NUMBER = re.compile(rb"[eE]\+?0*[1-9][0-9]{2}|[0-9]{300}")
#: Longest piece of a request that an error repeats.
MAX_QUOTE = 80


def parse_object(body: bytes, max_depth: int) -> dict[str, Any]:
    """Reads a request's JSON object.

    Raises:
        RequestError: The body is no UTF-8, no JSON, nested too deep, holds a number that fits no
            double, or is not an object.
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
    """An answer's JSON, one line."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": ")).encode() + b"\n"


def quote(value: Any) -> str:
    """A piece of a request as an error shows it, cut where it is long."""
    if isinstance(value, (list, dict)) and len(value) > MAX_QUOTE:
        value = value[:MAX_QUOTE] if isinstance(value, list) else list(value)[:MAX_QUOTE]
    try:
        # Without this, a text with half a surrogate pair could not be sent back.
        text = json.dumps(value, ensure_ascii=True)
    except (RecursionError, ValueError):
        return f"a {type(value).__name__}"
    return text if len(text) <= MAX_QUOTE else text[:MAX_QUOTE] + "..."


def _check_depth(body: bytes, max_depth: int) -> None:
    """Refuses deep nesting before the parser, which is recursive, meets it.

    Brackets are all that is looked at: each round removes the innermost pairs, so what is left
    after `max_depth` rounds is nested deeper (or does not match, which the parser will say).
    """
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return
    brackets = _STRING.sub(b"", body).translate(_ONE_KIND, _NO_BRACKET)
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
