"""Names of measured values, and the check that every threshold limits one of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ordain.config.metric_settings import check_metrics, known_classes
from ordain.config.metrics import Metric
from ordain.config.model import Threshold
from ordain.config.project import Project
from ordain.errors import ConfigError

#: Names under which the Evaluator adds metrics (`ordain.components.evaluator.thresholds`, `_rows`).
RESERVED_NAMES = {
    "confusion_matrix": "the confusion matrix at the model's threshold",
    "slice_rows": "the count of rows",
}
#: Classes of which more is better, and of which less is; of others nothing is known here.
_MORE = re.compile("AUC|.*Accuracy$|Precision|Recall|F1|FBeta|Sensitivity|Specificity|NDCG|R2")
_LESS = re.compile(".*(Error|Loss|Crossentropy|Hinge|Divergence|Poisson|LogCosh)")
#: Classes whose values are from 0 to 1.
_SHARE = re.compile("AUC|.*Accuracy$|Precision|Recall|F1|FBeta|Sensitivity|Specificity|NDCG")


@dataclass(frozen=True)
class Value:
    """One value of an entry of `evaluate.metrics`.

    Attributes:
        name: Its name in thresholds, verdicts and results; no two values share one.
        sub_key: `class_id`, `k` or `top_k` if the value is for one class or position; else empty.
        number: The class or the position; None without a `sub_key`.
        is_aggregated: True for the average of `aggregate`.
        settings: Settings of the class.
    """

    name: str
    sub_key: str = ""
    number: int | None = None
    is_aggregated: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


def metric_name(class_name: str) -> str:
    """The name a metric has in thresholds and results: `BinaryAccuracy` is `binary_accuracy`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_name)
    return words.lower()


def values_of(metric: Metric) -> list[Value]:
    """Lists the values of an entry.

    A single value has the entry's name. Several have the name with a suffix: `ndcg_top_k_3`,
    `recall_class_id_0`; an average over them has the name alone.
    """
    name = metric.name or metric_name(metric.class_name)
    settings = metric.settings
    # These settings of a class mean the same as TFMA's `binarize`, and only the latter is supported
    # by TFMA's validation of thresholds.
    parts: list[tuple[str, int]] = []
    if known_classes()[metric.class_name].has_sub_keys:
        parts += [(key, settings.pop(key)) for key in ("class_id", "top_k") if key in settings]
    if metric.class_name == "NDCG":
        parts += [("top_k", k) for k in settings.pop("top_k_list", ())]
    if metric.binarize is not None:
        parts += [("class_id", i) for i in metric.binarize.class_ids]
        parts += [("k", k) for k in metric.binarize.k_list]
        parts += [("top_k", k) for k in metric.binarize.top_k_list]
    found = _named(name, parts, settings, has_average=metric.aggregate is not None)
    if metric.aggregate is not None:
        places = [("top_k", k) for k in metric.aggregate.top_k_list]
        found += _named(name, places or [("", None)], settings, is_aggregated=True)
    return found or [Value(name, settings=settings)]


def _named(
    name: str,
    parts: Iterable[tuple[str, int | None]],
    settings: dict[str, Any],
    *,
    has_average: bool = False,
    is_aggregated: bool = False,
) -> list[Value]:
    every = list(dict.fromkeys(parts))
    is_single = len(every) == 1 and not has_average
    return [
        Value(name if is_single else f"{name}_{kind}_{n}", kind, n, is_aggregated, settings)
        for kind, n in every
    ]


def check_thresholds(project: Project) -> None:
    """Refuses metrics that cannot be computed, duplicate names, and limits on unknown metrics.

    Raises:
        ConfigError: Names the key and the nearest name.
    """
    check_metrics(project.evaluate.metrics)
    names = dict(RESERVED_NAMES)
    classes: dict[str, str] = {}
    for place, metric in enumerate(project.evaluate.metrics):
        key = f"evaluate.metrics.{place}"
        for value in values_of(metric):
            if value.name in names:
                raise ConfigError(
                    f"{key}: the name {value.name!r} is taken by {names[value.name]}",
                    "rename one of them, such as {class: Recall, name: recall_80}",
                )
            names[value.name] = key
            classes[value.name] = metric.class_name
    for name in RESERVED_NAMES:
        del names[name]
    _check_top_k(project.evaluate.metrics)
    for name, threshold in project.evaluate.thresholds.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"evaluate.thresholds.{name}: no such metric among evaluate.metrics"
                f" ({', '.join(names)}){meant}",
                f"add the metric's class to evaluate.metrics, or correct {name!r}",
            )
        _check_direction(name, classes[name], threshold)


def _check_direction(name: str, class_name: str, threshold: Threshold) -> None:
    """Refuses a limit on improvement, which lets every worse model through."""
    for wrong, right, pattern, better in (
        ("max_rise", "max_drop", _MORE, "more"),
        ("max_drop", "max_rise", _LESS, "less"),
    ):
        is_set = any(getattr(limit, wrong) is not None for limit in threshold.limits)
        if is_set and pattern.match(class_name):
            raise ConfigError(
                f"evaluate.thresholds.{name}: {wrong} limits how much better a model may be, as "
                f"{better} {class_name} is better",
                f"{right} limits how much worse than the baseline it may be",
            )


def idle_limits(project: Project) -> list[str]:
    """Lists the limits that no value of their metric can violate."""
    classes = {v.name: m.class_name for m in project.evaluate.metrics for v in values_of(m)}
    lines = []
    for name, threshold in project.evaluate.thresholds.items():
        if not _SHARE.match(classes.get(name, "")):
            continue
        for limit in threshold.limits:
            limits = {"min": limit.min, "max": limit.max, "max_drop": limit.max_drop}
            lines += [
                f"{name} {kind} {value:g} limits nothing: {name} is from 0 to 1"
                for kind, value in limits.items()
                # A reference that is not looked up is a text.
                if isinstance(value, float) and (value <= 0 if kind == "min" else value >= 1)
            ]
    return lines


def _check_top_k(metrics: Iterable[Metric]) -> None:
    """Refuses a top_k that is both micro-averaged and not: TFMA keeps one matrix for the two."""
    flat: set[int | None] = set()
    micro: set[int | None] = set()
    for metric in metrics:
        is_micro = metric.aggregate is not None and metric.aggregate.micro_average
        for value in values_of(metric) if metric.class_name != "NDCG" else ():
            if value.sub_key == "top_k":
                (micro if value.is_aggregated and is_micro else flat).add(value.number)
    if both := flat & micro:
        raise ConfigError(
            f"evaluate.metrics: top_k {min(both, key=str)} is both micro-averaged and not; TFMA "
            "keeps one matrix for the two",
            "remove one of them",
        )
