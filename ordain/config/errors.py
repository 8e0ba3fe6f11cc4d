"""Pydantic's validation errors as messages with file, key, value and the nearest known key."""

from __future__ import annotations

import difflib
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel


def explain(detail: Any, model: type[BaseModel], path: Path) -> str:
    """One line for a validation error: file, key, problem, and the nearest known key.

    Args:
        detail: An entry of `ValidationError.errors()`.
        model: The validated model.
        path: The file.
    """
    location = [str(part) for part in detail["loc"]]
    key = ".".join(location)
    if detail["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else f"; allowed: {', '.join(known)}"
        return f"{path}: unknown key {key!r}{meant}"
    if detail["type"] == "missing":
        return f"{path}: key {key!r} is required"
    problem = detail["msg"].removeprefix("Value error, ")
    got = detail.get("input")
    is_secret = (
        location[-1] == "password"
        or location[0] in ("notify", "metadata")
        or location[:2] in (["kubeflow", "env"], ["kubeflow", "host"], ["kubeflow", "auth"])
    )
    is_shown = got is not None and not is_secret and not isinstance(got, (dict, BaseModel))
    shown = f" (got {got!r:.80})" if is_shown else ""
    return f"{path}: {key}: {problem}{shown}"


def _known_keys(model: type[BaseModel], location: list[str]) -> list[str]:
    """Keys allowed at a location, found by walking the models' annotations."""
    here: Any = model
    for part in location:
        here = _step(here, part)
        if here is None:
            return []
    models = [m for m in _models_in(here) if m is not None]
    fields = [(name, field) for m in models for name, field in m.model_fields.items()]
    return sorted({field.alias or name for name, field in fields})


def _step(annotation: Any, part: str) -> Any:
    for model in _models_in(annotation):
        if part in model.model_fields:
            return model.model_fields[part].annotation
    if get_origin(annotation) in (dict, tuple, list):
        arguments = [a for a in get_args(annotation) if a is not Ellipsis]
        return arguments[-1] if arguments else None
    return annotation  # a location also has the names of union members


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType):
        return [m for a in get_args(annotation) for m in _models_in(a)]
    return []
