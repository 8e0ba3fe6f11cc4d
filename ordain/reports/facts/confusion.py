"""Confusion matrix for two or more classes."""

from __future__ import annotations

from dataclasses import dataclass

from ordain.reports.facts.formatting import plain
from ordain.reports.facts.model import Evaluation

#: With more classes only the most frequent mistakes are listed.
MAX_CLASSES = 25
MAX_CONFUSIONS = 12
#: TFMA's predicted class of an example whose highest prediction is below the threshold.
NO_CLASS = -1


@dataclass(frozen=True)
class Cell:
    """Number of examples of a class predicted as another; `share` is of the actual class."""

    count: float
    share: float
    is_right: bool


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix.

    Attributes:
        classes: Names, in the order of the outputs.
        rows: Actual class by predicted class; empty for too many classes.
        recalls: Recall of each class.
        precisions: Precision of each class; NaN if it is never predicted.
        confusions: The most frequent mistakes: actual, predicted, count, share of the actual.
        threshold: Of a binary model, else None.
    """

    classes: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    recalls: tuple[float, ...]
    precisions: tuple[float, ...]
    confusions: tuple[tuple[str, str, float, float], ...]
    threshold: float | None


def read_confusion(evaluation: Evaluation) -> Confusion | None:
    """Read the matrix of the whole window; None for a regression model."""
    if evaluation.confusion:
        return _of_matrix(_named(evaluation), evaluation.confusion, None)
    counts = evaluation.matrix
    if counts is None:
        histogram = evaluation.candidate
        if histogram is None:
            return None
        # A model that names no threshold is cut at 0.5, where a bucket begins.
        start = histogram.place(evaluation.threshold)
        counts = {
            (actual, predicted): float(values[part].sum())
            for actual, values in ((0, histogram.negatives), (1, histogram.positives))
            for predicted, part in ((0, slice(None, start)), (1, slice(start, None)))
        }
    names = evaluation.classes if len(evaluation.classes) == 2 else ("0", "1")
    return _of_matrix([plain(name, 40) for name in names], counts, evaluation.threshold)


def _named(evaluation: Evaluation) -> list[str]:
    highest = max(max(pair) for pair in evaluation.confusion)
    names = [plain(name, 40) for name in evaluation.classes]
    names += [str(i) for i in range(len(names), highest + 1)]
    return names


def _of_matrix(
    names: list[str], counts: dict[tuple[int, int], float], threshold: float | None
) -> Confusion:
    size = len(names)
    has_none = any(predicted == NO_CLASS for _, predicted in counts)
    totals = [sum(v for (actual, _), v in counts.items() if actual == i) for i in range(size)]
    predicted = [sum(v for (_, p), v in counts.items() if p == i) for i in range(size)]
    columns = [*range(size), *([NO_CLASS] if has_none else [])]
    rows = tuple(
        tuple(
            Cell(counts.get((i, j), 0.0), counts.get((i, j), 0.0) / (totals[i] or 1.0), i == j)
            for j in columns
        )
        for i in range(size)
    )
    wrong = sorted(
        ((a, p, v) for (a, p), v in counts.items() if a != p and v), key=lambda e: (-e[2], e[:2])
    )
    labels = [*names, *(["none"] if has_none else [])]
    return Confusion(
        classes=tuple(labels),
        rows=rows if size <= MAX_CLASSES else (),
        recalls=tuple(
            counts.get((i, i), 0.0) / totals[i] if totals[i] else float("nan") for i in range(size)
        ),
        precisions=tuple(
            counts.get((i, i), 0.0) / predicted[i] if predicted[i] else float("nan")
            for i in range(size)
        ),
        confusions=tuple(
            (names[a], labels[p] if p != NO_CLASS else "none", v, v / (totals[a] or 1.0))
            for a, p, v in wrong[:MAX_CONFUSIONS]
        ),
        threshold=threshold,
    )
