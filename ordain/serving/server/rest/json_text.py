"""Parses and writes JSON in the dialect of TensorFlow Serving's REST API, within limits.

The dialect also has `NaN`, `Infinity` and `-Infinity`, in requests and responses
(https://www.tensorflow.org/tfx/serving/api_rest, "JSON conformance").
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic_core import from_json

from ordain.serving.server.errors import RequestError, invalid

#: A number too large for a double has such an exponent or this many digits.
_LARGE_NUMBER = re.compile(rb"[eE]\+?0*[1-9][0-9]{2}|[0-9]{300}")
#: Longest piece of a request quoted in an error.
MAX_QUOTE = 80


def parse_object(body: bytes) -> dict[str, Any]:
    """Parses the JSON object of a request.

    pydantic's parser is faster than `json` (1.6 ms against 2.2 ms for 2,000 rows) and limits
    nesting to 200 levels.

    Raises:
        RequestError: The body is not UTF-8, not JSON, not an object, nested too deep, or holds a
            number too large for a double.
    """
    if not body.strip():
        raise invalid("JSON Parse error: The document is empty")
    try:
        value = from_json(body)
        if _LARGE_NUMBER.search(body):
            # Once more, because the parser reads such a number as infinity.
            json.loads(body, parse_float=_finite)
    except RequestError:
        raise
    except ValueError as error:
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
    # As ASCII, because half a surrogate pair cannot be encoded.
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= MAX_QUOTE else text[:MAX_QUOTE] + "..."


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise invalid("JSON Parse error: Number too big to be stored in double.")
    return value
