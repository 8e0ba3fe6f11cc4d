"""Metric names, and the check that every threshold limits a metric that is computed."""

from __future__ import annotations

import difflib
import re

from contracts.errors import ConfigError
from pipeline.config import Project


def metric_name(class_name: str) -> str:
    """The name a metric has in thresholds and results: `BinaryAccuracy` is `binary_accuracy`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_name)
    return words.lower()


def check_thresholds(project: Project) -> None:
    """Refuses thresholds on metrics that are not computed.

    Raises:
        ConfigError: Naming the threshold and the nearest metric.
    """
    names = [metric_name(m) for m in project.evaluate.metrics]
    for name in project.evaluate.thresholds:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"evaluate.thresholds.{name}: no such metric among evaluate.metrics"
                f" ({', '.join(names)}){meant}",
                f"add the metric's class to evaluate.metrics, or correct {name!r}",
            )
