"""Strict parsing and validation of JSON from files that others may have written."""

from __future__ import annotations

import json
import math
import re
from dataclasses import MISSING, fields
from typing import Any

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str | bytes) -> Any:
    """Parses JSON strictly.

    Args:
        text: The JSON text; bytes are UTF-8.

    Raises:
        ValueError: It is not JSON, or contains NaN, an infinity, a number that is too large, a
            duplicate key or half a surrogate pair, or is nested too deeply.
    """
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(
            text,
            parse_float=_finite,
            parse_constant=_no_constant,
            object_pairs_hook=_each_key_once,
        )
        if _SURROGATE.search(text):
            # Half a surrogate pair can be written to no file or terminal.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeError as error:
        raise ValueError(f"it is not valid UTF-8: {error.reason}") from None  # type: ignore[attr-defined]
    except ValueError as error:
        if "int_max_str_digits" in str(error):
            raise ValueError("it contains a number of more than 4300 digits") from None
        raise
    return value


def whole_number(value: object, what: str, least: int = 0) -> int:
    """Validates a whole number from `least` to 2**63 - 1.

    Raises:
        ValueError: It is anything else; `what` names it.
    """
    if type(value) is not int or not least <= value < 2**63:
        raise ValueError(f"{what} is {_short(value)}, not a whole number from {least}")
    return value


def number(value: object, what: str) -> float:
    """Validates a finite number.

    Raises:
        ValueError: It is anything else; `what` names it.
    """
    if type(value) not in (int, float) or not -1e308 <= value <= 1e308:  # type: ignore[operator]
        raise ValueError(f"{what} is {_short(value)}, not a number")
    return float(value)  # type: ignore[arg-type]


def text_of(value: object, what: str) -> str:
    """Validates a string.

    Raises:
        ValueError: It is anything else; `what` names it.
    """
    if not isinstance(value, str):
        raise ValueError(f"{what} is {_short(value)}, not a string")
    return value


def object_of(value: object, what: str) -> dict[str, Any]:
    """Validates an object.

    Raises:
        ValueError: It is anything else; `what` names it.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {_short(value)}, not an object")
    return value


def record_of(value: object, kind: type[Any], what: str) -> dict[str, Any]:
    """Validates an object whose keys are the fields of a dataclass, no other and none missing.

    Raises:
        ValueError: It is anything else; `what` names it.
    """
    found, known = object_of(value, what), {field.name: field for field in fields(kind)}
    for key in found:
        if key not in known:
            raise ValueError(f"{what} has the unknown key {key!r:.60}")
    for name, field in known.items():
        if name not in found and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{what} has no {name!r}")
    return found


def list_of(value: object, what: str) -> list[Any]:
    """Validates a list.

    Raises:
        ValueError: It is anything else; `what` names it.
    """
    if not isinstance(value, list):
        raise ValueError(f"{what} is {_short(value)}, not a list")
    return value


def _short(value: object) -> str:
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    # Python refuses to format a number of thousands of digits.
    is_long = type(value) is int and abs(value) >= 10**40
    return "a very large number" if is_long else f"{value!r:.60}"


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it contains the number {text[:40]}, which is too large")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"it contains {name}, which is not JSON")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"it contains the key {twice!r:.60} twice")
    return found
