"""Converts parameter values between text and their types as Kubeflow Pipelines does.

The rules are those of `TextToPbValue` and `PbValueToText` in the backend's `metadata/client.go`.
`kfp.local` differs: it writes `3.0` and `[1, "a"]`, and reads `1.5` as an integer.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

STRING, INTEGER, DOUBLE = "STRING", "NUMBER_INTEGER", "NUMBER_DOUBLE"
BOOLEAN, LIST, STRUCT = "BOOLEAN", "LIST", "STRUCT"
#: What Go's ParseBool takes.
_TRUE, _FALSE = {"1", "t", "T", "true", "TRUE", "True"}, {"0", "f", "F", "false", "FALSE", "False"}
#: Go's JSON writes these as escapes.
_ESCAPES = {c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def to_text(value: Any) -> str:
    """Formats a value as it appears in a command.

    Args:
        value: None, a text, a number, a truth value, a list or a dict, as JSON has them.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(value)
    text = json.dumps(_whole(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def from_text(text: str, kind: str) -> Any:
    """Parses a value that a task wrote or a user gave.

    Args:
        text: The text.
        kind: A parameter type of KFP, such as `NUMBER_INTEGER`.

    Raises:
        ValueError: The text is not a value of that type; the message says what was expected.
    """
    if kind == STRING:
        return text
    bare = text.strip()
    if kind == INTEGER:
        return int(bare)
    if kind == DOUBLE:
        return float(bare)
    if kind == BOOLEAN:
        if bare in _TRUE:
            return True
        if bare in _FALSE:
            return False
        raise ValueError(f"expected true or false, got {shortened(bare)!r}")
    if kind in (LIST, STRUCT):
        value = json.loads(text)
        check_type(value, kind)
        return value
    raise ValueError(f"unknown parameter type {kind}")


def check_type(value: Any, kind: str) -> None:
    """Checks a value against its parameter's type.

    Raises:
        ValueError: The types differ.
    """
    types: dict[str, tuple[type, ...]] = {
        STRING: (str,),
        INTEGER: (int, float),
        DOUBLE: (int, float),
        BOOLEAN: (bool,),
        LIST: (list,),
        STRUCT: (dict,),
    }
    if kind not in types:
        raise ValueError(f"unknown parameter type {kind}")
    is_number = kind in (INTEGER, DOUBLE)
    if not isinstance(value, types[kind]) or (is_number and isinstance(value, bool)):
        raise ValueError(f"expected {kind}, got {type(value).__name__}")


def shortened(text: str, limit: int = 80) -> str:
    """Shortens a text for a message."""
    return text if len(text) <= limit else f"{text[:limit]}..."


def _number(value: float) -> str:
    """Go's FormatFloat(value, 'f', -1, 64): no exponent, no trailing zeros."""
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _whole(value: Any) -> Any:
    """Whole numbers without their `.0`: a protobuf value knows one kind of number."""
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
