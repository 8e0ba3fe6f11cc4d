"""Writes the tables of keys in docs/configuration.md from the models of `ordain.config`.

A table stands between `<!-- keys: MODEL PREFIX -->` and `<!-- end -->`. Types, bounds and defaults
come from the annotations, meanings from the docstrings of the attributes. A test fails when page
and models differ:

    python tools/config_tables.py
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union

import annotated_types as bounds
from pydantic import StringConstraints
from pydantic.fields import FieldInfo

from ordain.config.base import Section, Shown
from ordain.config.project import Project

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
_TABLE = re.compile(r"(<!-- keys: (\w+)(?: (\S+))? -->\n).*?(<!-- end -->)", re.DOTALL)
_LINK = re.compile(r"\bdocs/([\w-]+)\.md(#[\w-]+)?")
_HEAD = "| Key | Type | Default | Meaning |\n|---|---|---|---|\n"
_WORDS = {str: "text", int: "integer", float: "number", bool: "`true`, `false`", Path: "path"}
_PLURALS = ("text", "integer", "number", "name", "path")


def render(page: str) -> str:
    """The page with its tables as the models are now.

    Raises:
        ValueError: A model's keys stand in no table, or a key has no docstring.
    """
    own = {found[2] for found in _TABLE.finditer(page)}
    shown: set[type[Section]] = set()

    def table(found: re.Match[str]) -> str:
        model = _models()[found[2]]
        return found[1] + _HEAD + "".join(_rows(model, found[3] or "", own, shown)) + found[4]

    rendered = _TABLE.sub(table, page)
    if missing := set(_reachable(Project)) - shown:
        names = ", ".join(sorted(model.__name__ for model in missing))
        raise ValueError(f"{PAGE}: no table has the keys of {names}")
    return rendered


def _rows(
    model: type[Section], prefix: str, own: set[str], shown: set[type[Section]]
) -> Iterator[str]:
    """The rows of a model and of those below it that have no table of their own."""
    shown.add(model)
    inherited = {
        name
        for base in model.__mro__[1:]
        if base.__name__ in own and issubclass(base, Section)
        for name in base.model_fields
    }
    for name, field in model.model_fields.items():
        if name in inherited:
            continue
        key = f"{prefix}.{field.alias or name}" if prefix else field.alias or name
        below = [m for m in _models_in(field.annotation) if m.__name__ not in own]
        is_list = _type(field).startswith("list of")
        is_group = isinstance(field.default, Section) and bool(below)
        if not is_group:
            meaning = _LINK.sub(r"[\1](\1.md\2)", _meanings(model)[name])
            yield f"| `{key}` | {_type(field)} | {_default(field)} | {meaning} |\n"
        for nested in below:
            # A choice such as `{none: reason}` is described by its own row.
            if nested is not _models().get("NoBaseline"):
                yield from _rows(nested, f"{key}[]" if is_list else key, own, shown)
            shown.add(nested)


def _type(field: FieldInfo) -> str:
    text = _words(field.annotation, field.metadata)
    is_optional = type(None) in typing.get_args(field.annotation)
    return f"{text}, or `null`" if is_optional and field.default is not None else text


def _words(annotation: Any, metadata: typing.Iterable[Any] = ()) -> str:
    """An annotation in words."""
    flat = [one for entry in metadata for one in _flat(entry)]
    for entry in reversed(flat):
        if isinstance(entry, Shown) and entry.type:
            return entry.type
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _words(arguments[0], [*arguments[1:], *flat])
    if origin is Literal:
        text = ", ".join(f"`{value}`" for value in arguments)
    elif origin in (Union, types.UnionType):
        text = " or ".join(_words(one) for one in arguments if one is not type(None))
    elif origin is tuple:
        first, *rest = _words(arguments[0]).split(" ")
        text = " ".join(["list of", f"{first}s" if first in _PLURALS else first, *rest])
    elif origin is dict:
        text = f"map of {_words(arguments[0])} to {_words(arguments[1])}"
    elif isinstance(annotation, type) and issubclass(annotation, Section):
        text = "keys"
    else:
        text = _WORDS[annotation]
    return text + _bounds(flat, " characters" if annotation is str else "")


def _flat(entry: Any) -> list[Any]:
    """An entry of `Annotated`, with a `Field(...)` taken apart into its constraints."""
    if isinstance(entry, FieldInfo):
        return entry.metadata
    if isinstance(entry, StringConstraints):
        return list(entry)
    return [entry]


def _bounds(metadata: list[Any], unit: str) -> str:
    text = ""
    for entry in metadata:
        match entry:
            case bounds.Gt(gt=least):
                text += f" above {least:,g}"
            case bounds.Ge(ge=least):
                text += f" from {least:,g}"
            case bounds.Le(le=most):
                text += f" to {most:,.12g}"
            case bounds.MinLen(min_length=least):
                text += f", at least {least}{unit}"
            case bounds.MaxLen(max_length=most):
                text += f", at most {most:,}{unit}"
    return text


def _default(field: FieldInfo) -> str:
    for entry in field.metadata:
        if isinstance(entry, Shown) and entry.default:
            return entry.default
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "none"
    if isinstance(value, Section):
        return "its defaults"
    if isinstance(value, (tuple, list)):
        return f"`[{', '.join(map(str, value))}]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"{value:.12g}" if isinstance(value, (int, float)) else f"`{value}`"


def _models_in(annotation: Any) -> list[type[Section]]:
    """The models that an annotation names, but those of a mapping, whose keys are free."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    if typing.get_origin(annotation) is dict:
        return []
    return [model for one in typing.get_args(annotation) for model in _models_in(one)]


def _reachable(model: type[Section]) -> Iterator[type[Section]]:
    """A model and all models below it, those of mappings included."""
    yield model
    for field in model.model_fields.values():
        queue = [field.annotation]
        while queue:
            one = queue.pop()
            if isinstance(one, type) and issubclass(one, Section):
                yield from _reachable(one)
            queue += typing.get_args(one)


@functools.cache
def _models() -> dict[str, type[Section]]:
    return {model.__name__: model for model in _reachable(Project)}


@functools.cache
def _meanings(model: type[Section]) -> dict[str, str]:
    """The docstrings of a model's attributes, in one line each.

    Raises:
        ValueError: A key has none.
    """
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, Section):
            continue
        (body,) = ast.parse(inspect.getsource(base)).body
        assert isinstance(body, ast.ClassDef)  # noqa: S101  the source of a class
        for field, after in zip(body.body, body.body[1:], strict=False):
            match field, after:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = " ".join(text.split())
    groups = [n for n, f in model.model_fields.items() if isinstance(f.default, Section)]
    if missing := set(model.model_fields) - found.keys() - set(groups):
        raise ValueError(f"{model.__name__}: {', '.join(sorted(missing))} has no docstring")
    return found


if __name__ == "__main__":
    try:
        PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    except ValueError as error:
        sys.exit(f"error: {error}")
