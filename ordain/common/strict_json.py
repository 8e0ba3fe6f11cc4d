"""Strict parsing and validation of JSON from files that others may have written."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, TypeVar

import pydantic

#: A whole number of a JSON file, from 0 to 2**63 - 1.
WholeNumber = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
#: `__pydantic_config__` of a dataclass whose objects have no other keys.
FORBID_EXTRA = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)
T = TypeVar("T")
_adapters: dict[type[Any], pydantic.TypeAdapter[Any]] = {}
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


def parse_record(text: str | bytes, kind: type[T]) -> T:
    """Parses a JSON object into a dataclass, without conversions between types.

    Args:
        text: The JSON text; bytes are UTF-8.
        kind: The dataclass. The object must have all of its fields, even those with a default;
            objects inside it only need those without one. `FORBID_EXTRA` refuses unknown keys.

    Raises:
        ValueError: It is not JSON, see `parse_json`, or not such an object; names the key.
    """
    raw = parse_json(text)
    try:
        record: T = _adapter(kind).validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        raise ValueError(_explain(error.errors(include_url=False)[0])) from None
    require_keys(raw, kind)
    return record


def require_keys(raw: Mapping[str, Any], kind: type[Any]) -> None:
    """Raises ValueError if an object lacks a field of a dataclass."""
    for field in fields(kind):
        if field.name not in raw:
            raise ValueError(f"{field.name} is missing")


def object_of(record: Any) -> dict[str, Any]:
    """The JSON object of a dataclass, as `parse_record` reads it."""
    return dict(_adapter(type(record)).dump_python(record, by_alias=True))


def _adapter(kind: type[T]) -> pydantic.TypeAdapter[T]:
    if kind not in _adapters:
        _adapters[kind] = pydantic.TypeAdapter(kind)
    return _adapters[kind]


def _explain(error: Any) -> str:
    """One line for a validation error: the key, the problem, and the value."""
    key = repr(".".join(map(str, error["loc"])))[1:-1][:200] or "the file"
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "unexpected_keyword_argument":
        return f"{key} is an unknown key"
    problem = "must be an object" if error["type"] == "dataclass_type" else error["msg"]
    problem = problem.replace("Input should", "must").removeprefix("Value error, ")
    return f"{key} {problem}, got {_short(error['input'])}"


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
