"""Write `ordain/config/metric_classes.json`: every metric of TFMA and Keras with its settings.

`ordain plan` checks `evaluate.metrics` with it in milliseconds; importing TFMA takes fifteen
seconds. A test fails if the libraries have changed; then renew it:

    python tools/metric_classes.py
"""

from __future__ import annotations

import importlib
import inspect
import json
import types
import typing
from pathlib import Path
from typing import Any

from ordain.components.evaluator import tfma_internals as inside
from ordain.pipeline.eval_config import OWN_METRICS

TARGET = Path(__file__).resolve().parent.parent / "ordain" / "config" / "metric_classes.json"
#: Parameters that are not settings: the name is a key of its own, and TFMA computes in float32.
_NOT_SETTINGS = {"self", "name", "dtype", "kwargs", "reduction", "preprocessors"}
#: Types of parameters without annotations.
_UNTOLD = {"label_smoothing": "number", "normalizer": "list of numbers", "label_key": "text"}
_KINDS = {int: "integer", float: "number", str: "text", bool: "true or false"}
_PLURALS = {int: "list of integers", float: "list of numbers", str: "list of texts"}


def read_classes() -> dict[str, dict[str, Any]]:
    """Read the metric classes of the installed TFMA and its Keras.

    Returns:
        By class name, sorted: `settings`, the type of each in words; `required`, those without a
        default; `by_query`, if it needs `query_key`; `threshold`, the setting that is the decision
        threshold; `has_sub_keys`, if `class_id` and `top_k` mean what TFMA's `binarize` means;
        `refused`, why it cannot be computed with any settings.
    """
    found = dict(inside.registered_metrics())
    for name in dir(inside.keras_metrics):
        kind = getattr(inside.keras_metrics, name)
        if inspect.isclass(kind) and issubclass(kind, inside.keras_metrics.Metric):
            found.setdefault(name, kind)
    for name, module in OWN_METRICS.items():
        found[name] = getattr(importlib.import_module(module), name)
    return {name: _entry(name, found[name], OWN_METRICS.get(name, "")) for name in sorted(found)}


def _entry(name: str, kind: Any, module: str) -> dict[str, Any]:
    parameters = inspect.signature(kind.__init__).parameters
    settings, required, refused = {}, [], ""
    for key, parameter in parameters.items():
        if key in _NOT_SETTINGS:
            continue
        told = _UNTOLD.get(key) or _in_words(parameter)
        is_required = parameter.default is parameter.empty
        if told:
            settings[key] = told
            required += [key] if is_required else []
        elif is_required:
            refused = f"it needs {key}, which no file can hold"
    if "name" not in parameters:
        refused = "its values cannot be given a name"
    entry: dict[str, Any] = {"settings": settings, "required": required}
    if why := refused or inside.why_never(name, module):
        return {**entry, "refused": why}
    if inside.needs_query(name):
        entry["by_query"] = True
    if threshold := inside.threshold_setting(name):
        entry["threshold"] = threshold
    if inside.has_sub_keys(name):
        entry["has_sub_keys"] = True
    return entry


def _in_words(parameter: inspect.Parameter) -> str:
    """Describe the type of a parameter; empty if YAML cannot represent it."""
    if parameter.annotation is parameter.empty:
        return _KINDS.get(type(parameter.default), "")
    words = dict.fromkeys(map(_one, _members(parameter.annotation)))
    return " or ".join(word for word in words if word)


def _members(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [m for part in typing.get_args(annotation) for m in _members(part)]
    return [] if annotation is type(None) else [annotation]


def _one(kind: Any) -> str:
    if typing.get_origin(kind) in (list, tuple):
        return _PLURALS.get(typing.get_args(kind)[0], "")
    return _KINDS.get(kind, "")


def as_text(classes: dict[str, dict[str, Any]]) -> str:
    """Format the file, one line per class."""
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in classes.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    TARGET.write_text(as_text(read_classes()), encoding="utf-8")
