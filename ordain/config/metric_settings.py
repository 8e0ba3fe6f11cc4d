"""Checks metrics and their settings without importing TFMA.

`metric_classes.json` lists the classes of TFMA and Keras (written by `tools/metric_classes.py`).
"""

from __future__ import annotations

import difflib
import functools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ordain.config.metrics import Metric
from ordain.errors import ConfigError

_TABLE = Path(__file__).with_name("metric_classes.json")
_HINT = "docs/evaluation.md, Metrics"


@dataclass(frozen=True)
class MetricClass:
    """A class of metrics.

    Attributes:
        settings: The type of each setting in words.
        required: Settings without a default.
        by_query: Whether `query_key` is required.
        threshold: The setting that is the decision threshold; empty if it has none.
        has_sub_keys: Whether `class_id` and `top_k` mean what `binarize` means.
        refused: Reason that no settings make it computable; empty if some do.
    """

    settings: dict[str, str]
    required: tuple[str, ...] = ()
    by_query: bool = False
    threshold: str = ""
    has_sub_keys: bool = False
    refused: str = ""


_FITS: dict[str, Callable[[Any], bool]] = {
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v),
    "text": lambda v: isinstance(v, str),
    "true or false": lambda v: isinstance(v, bool),
}
_PLURALS = {
    "list of integers": "integer",
    "list of numbers": "number",
    "list of texts": "text",
}
_POSITIVE = ("top_k", "top_k_list", "k", "num_buckets", "num_classes", "sample_size")
_SHARES = (
    "recall",
    "precision",
    "specificity",
    "sensitivity",
    "false_positive_rate",
    "label_smoothing",
    "iou_threshold",
)
#: Bounds of a setting beyond its type. TFMA checks them only once there is data, if at all.
_BOUNDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(_POSITIVE, (lambda v: v >= 1, "1 or more")),
    **dict.fromkeys(_SHARES, (lambda v: 0 <= v <= 1, "from 0 to 1")),
    "num_thresholds": (lambda v: v >= 2, "2 or more"),
    "class_id": (lambda v: v >= 0, "0 or more"),
    "curve": (lambda v: v in ("ROC", "PR"), "ROC or PR"),
    "summation_method": (
        lambda v: v in ("interpolation", "majoring", "minoring"),
        "interpolation, majoring or minoring",
    ),
}
#: Settings of which a list of several makes a metric several values.
_MANY_VALUES = ("recall", "specificity")


@functools.cache
def known_classes() -> dict[str, MetricClass]:
    """Every class by its name."""
    raw = json.loads(_TABLE.read_text(encoding="utf-8"))
    return {
        name: MetricClass(**{**entry, "required": tuple(entry["required"])})
        for name, entry in raw.items()
    }


def check_metrics(metrics: Sequence[Metric]) -> None:
    """Refuses classes, settings and values that TFMA would reject or misread.

    Raises:
        ConfigError: Names the entry, the problem, and what is allowed.
    """
    for place, metric in enumerate(metrics):
        _check_metric(f"evaluate.metrics.{place}", metric)


def _check_metric(key: str, metric: Metric) -> None:
    name = metric.class_name
    kind = known_classes().get(name)
    if kind is None:
        usable = [n for n, each in known_classes().items() if not each.refused]
        # TFMA's modules and papers speak of an "NDCG metric".
        short = name.removesuffix("Metric")
        meant = _nearest(short if short in usable else name, usable)
        _refuse(f"{key}: {name!r} is not a metric of TFMA or Keras{meant}")
    if kind.refused:
        _refuse(f"{key}: {name} cannot be computed: {kind.refused}", "use another metric")
    key, settings = f"{key} ({name})", metric.settings
    for setting, value in settings.items():
        if setting not in kind.settings:
            known = [*kind.settings, "name", "binarize", "aggregate", "query_key"]
            meant = _nearest(setting, known) or f"; allowed: {', '.join(known)}"
            _refuse(f"{key}: unknown setting {setting!r}{meant}")
        _check_value(key, setting, value, kind.settings[setting])
    missing = [setting for setting in kind.required if setting not in settings]
    if missing:
        _refuse(f"{key}: requires {', '.join(missing)}")
    if kind.by_query and metric.query_key is None:
        _refuse(f"{key}: requires query_key, the column whose value the rows of a query share")
    if name == "NDCG" and not settings.get("top_k_list") and metric.binarize is None:
        _refuse(f"{key}: requires top_k_list, the numbers of first positions to evaluate")
    for setting in (kind.threshold, *_MANY_VALUES):
        if setting and isinstance(settings.get(setting), list) and len(settings[setting]) != 1:
            _refuse(
                f"{key}: {setting} is a list, which gives one metric several values",
                "write an entry for each, such as {class: Recall, thresholds: 0.8, "
                "name: recall_80}",
            )
    _check_together(key, metric, settings)


def _check_together(key: str, metric: Metric, settings: dict[str, Any]) -> None:
    for one, other in (("thresholds", "num_thresholds"), ("top_k", "class_id")):
        if one in settings and other in settings:
            _refuse(f"{key}: has both {one} and {other}; TFMA takes one of them")
    for setting in ("top_k", "class_id"):
        if setting in settings and (metric.binarize or metric.aggregate):
            _refuse(f"{key}: {setting} cannot be combined with binarize or aggregate")
    if metric.aggregate is not None and metric.class_name.startswith("Sparse"):
        _refuse(
            f"{key}: TFMA does not aggregate sparse metrics",
            f"use {metric.class_name.removeprefix('Sparse')}",
        )


def _check_value(key: str, setting: str, value: Any, kinds: str) -> None:
    fits = any(_fits(value, kind) for kind in _alternatives(kinds))
    if not fits:
        _refuse(f"{key}: {setting} is {value!r:.80}; it must be: {kinds}")
    is_allowed, allowed = _BOUNDS.get(setting, (lambda v: True, ""))
    for one in value if isinstance(value, list) else [value]:
        if not is_allowed(one):
            _refuse(f"{key}: {setting} is {one!r:.80}; it must be {allowed}")


def _alternatives(kinds: str) -> list[str]:
    return [kinds] if kinds in _FITS else kinds.split(" or ")


def _fits(value: Any, kind: str) -> bool:
    if kind in _PLURALS:
        return isinstance(value, list) and bool(value) and all(map(_FITS[_PLURALS[kind]], value))
    return _FITS[kind](value)


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _refuse(message: str, hint: str = "") -> NoReturn:
    raise ConfigError(message, f"{hint} ({_HINT})" if hint else _HINT)
