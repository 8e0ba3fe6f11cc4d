"""Results of the evaluation: metrics by slice, curves, confusion, residuals, importance."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ordain.common.node_id import NodeId
from ordain.config.thresholds import metric_name
from ordain.errors import InfrastructureError
from ordain.reports.facts.intervals import Floats, Histogram, Interval, interval_of
from ordain.reports.facts.run_record import Record

COUNT = "example_count"
#: Files of the Evaluator beside TFMA's (`ordain.components.evaluator.results_json`,
#: `importance`).
READOUT_FILE, IMPORTANCE_FILE = "readout.json", "importance.json"
#: Default decision threshold, as in the Evaluator.
DEFAULT_THRESHOLD = 0.5
#: Metrics where less is better.
_LESS_IS_BETTER = ("error", "loss", "crossentropy", "divergence", "hinge")
Where = str


@dataclass(frozen=True)
class Measured:
    """One metric of one slice.

    Attributes:
        value: The candidate's; None if it is undefined.
        baseline: The baseline's, or None.
        interval: 95 % interval of the candidate's value, or None.
        undefined: Reason for a missing value of the candidate, such as `26 rows, no positive`.
        baseline_undefined: The same for the baseline.
        trivial: Name and value of each constant predictor.
    """

    value: float | None
    baseline: float | None
    interval: Interval | None
    undefined: str = ""
    baseline_undefined: str = ""
    trivial: tuple[tuple[str, float], ...] = ()

    @property
    def difference(self) -> float | None:
        """Candidate's value minus the baseline's, on the same rows; None if either is missing."""
        if self.value is None or self.baseline is None:
            return None
        return self.value - self.baseline


@dataclass(frozen=True)
class Importance:
    """Permutation importance of a feature (`components.evaluator.importance`)."""

    measure: str
    score: float
    rows: int
    of_rows: int
    left_out: int
    features: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class Evaluation:
    """An evaluation.

    Attributes:
        names: Metrics in the order of the configuration, without the count of examples.
        slices: Slices by name, the whole window under an empty one, each with its metrics.
        counts: Examples of each slice.
        has_baseline: True if there was a baseline.
        candidate, baseline: Predictions by label of the whole window, for a binary model.
        classes: Names of the classes, if the model has them.
        threshold: Decision threshold of a binary model.
        confusion: Weight by actual and predicted class, for several classes.
        sample: Labels and predictions of a sample, each `[rows]`, for regression.
        importance: Of the features, or None.
        matrix: Examples by actual and predicted class at `threshold`, of a binary model that names
            its threshold; None for others.
        kinds: Kind of each metric (`mean_squared_error`), by its name in the project.
        titles: Names with the threshold that the metric was computed at: `recall at 0.8`.
    """

    names: tuple[str, ...]
    slices: dict[Where, dict[str, Measured]]
    counts: dict[Where, float]
    has_baseline: bool
    candidate: Histogram | None
    baseline: Histogram | None
    classes: tuple[str, ...]
    threshold: float
    confusion: dict[tuple[int, int], float]
    sample: tuple[Floats, Floats] | None
    importance: Importance | None
    matrix: dict[tuple[int, int], float] | None = None
    kinds: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)

    @property
    def overall(self) -> dict[str, Measured]:
        """Metrics of the whole window."""
        return self.slices.get("", {})


def is_less_better(kind: str) -> bool:
    """True if smaller values of a kind of metric are better."""
    return any(word in kind for word in _LESS_IS_BETTER)


def read_evaluation(record: Record) -> Evaluation | None:
    """Read the evaluation of a run; None if there is none on this machine.

    Raises:
        InfrastructureError: It was made without `readout.json`.
    """
    folder = record.folder_of(NodeId.EVALUATOR, "evaluation")
    if folder is None:
        return None
    readout = _read(folder / READOUT_FILE)
    if readout is None:
        raise InfrastructureError(
            f"{folder} holds no {READOUT_FILE}: another Evaluator made it",
            "ordain run PROJECT --from Evaluator",
        )
    values: dict[Where, dict[str, dict[str, Any]]] = {}
    for entry in readout["metrics"]:
        values.setdefault(entry["slice"], {})[entry["name"]] = entry
    histograms = {
        (entry["slice"], entry["is_baseline"]): _histogram(entry["buckets"], entry["cells"])
        for entry in readout["histograms"]
    }
    confusion = {(int(a), int(p)): float(weight) for a, p, weight in readout["confusion"]}
    raw = _read(folder / IMPORTANCE_FILE)
    sample = _sample(raw) if not histograms and not confusion else None
    counts = {where: float(readout["rows"].get(where, 0)) for where in values}
    names = list(dict.fromkeys(entry["name"] for entry in readout["metrics"]))
    matrix = readout.get("matrix")
    overall = values.get("", {})
    return Evaluation(
        names=tuple(name for name in names if name != COUNT),
        slices={
            where: {
                name: _measured(entry, where, counts[where], histograms, sample)
                for name, entry in found.items()
                if ("value" in entry or "undefined" in entry) and name != COUNT
            }
            for where, found in values.items()
        },
        counts=counts,
        has_baseline=any("baseline" in entry for entry in readout["metrics"]),
        candidate=histograms.get(("", False)),
        baseline=histograms.get(("", True)),
        classes=_classes(record),
        threshold=matrix["threshold"] if matrix else DEFAULT_THRESHOLD,
        confusion=confusion,
        sample=sample,
        importance=_importance(raw),
        matrix=_cells(matrix) if matrix else None,
        kinds={name: _kind(entry) for found in values.values() for name, entry in found.items()},
        titles={name: _title(entry) for name, entry in overall.items()},
    )


def _kind(entry: dict[str, Any]) -> str:
    return metric_name(entry.get("class") or entry["name"])


def _title(entry: dict[str, Any]) -> str:
    """Build a metric's title, with its decision thresholds."""
    own, base = entry.get("threshold"), entry.get("baseline_threshold")
    if own is None:
        return str(entry["name"])
    other = f" (baseline at {base:g})" if base not in (None, own) else ""
    return f"{entry['name']} at {own:g}{other}"


def _cells(matrix: dict[str, float]) -> dict[tuple[int, int], float]:
    return {
        (0, 0): matrix["true_negatives"],
        (0, 1): matrix["false_positives"],
        (1, 0): matrix["false_negatives"],
        (1, 1): matrix["true_positives"],
    }


def _measured(
    entry: dict[str, Any],
    where: Where,
    count: float,
    histograms: dict[tuple[Where, bool], Histogram],
    sample: tuple[Floats, Floats] | None,
) -> Measured:
    # The sample covers the whole window and has no information on a slice's variance.
    errors = sample[1] - sample[0] if sample is not None and not where else None
    value = entry.get("value")
    interval = None
    if value is not None:
        interval = interval_of(
            _kind(entry),
            value,
            count,
            histograms.get((where, False)),
            errors,
            entry.get("threshold", DEFAULT_THRESHOLD),
        )
    return Measured(
        value,
        entry.get("baseline"),
        interval,
        entry.get("undefined", ""),
        entry.get("baseline_undefined", ""),
        tuple(entry.get("trivial", {}).items()),
    )


def _histogram(buckets: int, cells: list[list[float]]) -> Histogram:
    weight, positives, predictions = np.zeros((3, buckets))
    for place, *sums in cells:
        weight[int(place)], positives[int(place)], predictions[int(place)] = sums
    edges = np.linspace(0, 1, buckets + 1)
    return Histogram(edges, positives, np.maximum(weight - positives, 0.0), predictions)


def _classes(record: Record) -> tuple[str, ...]:
    """Read the classes from the exported model."""
    folder = record.folder_of(NodeId.TRAINER, "model")
    if folder is None:
        return ()
    from ordain.serving.export.description import read_description  # noqa: PLC0415

    description = read_description(folder / "Format-Serving")
    return () if description is None else tuple(str(name) for name in description.classes)


def _importance(raw: dict[str, Any] | None) -> Importance | None:
    if raw is None:
        return None
    features = tuple(
        (f["name"], float(np.mean(f["losses"])), float(np.std(f["losses"], ddof=1)))
        for f in raw["features"]
    )
    keys = ("measure", "score", "rows", "of_rows", "left_out")
    return Importance(**{key: raw[key] for key in keys}, features=features)


def _sample(raw: dict[str, Any] | None) -> tuple[Floats, Floats] | None:
    if raw is None or raw["measure"] != "rmse" or not raw["predictions"]:
        return None
    return np.array(raw["labels"]), np.array(raw["predictions"])


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    raw = json.loads(path.read_text(encoding="utf-8"))
    return raw if isinstance(raw, dict) else None
