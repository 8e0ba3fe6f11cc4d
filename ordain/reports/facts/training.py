"""Training history: losses and metrics by step, learning rate, the Tuner's trials."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from ordain.common.node_id import NodeId
from ordain.reports.facts.run_record import Record

#: Written by the Trainer's callback (`ordain.components.trainer.component.HistoryCallback`).
HISTORY_FILE = "history.jsonl"
TRIALS_FILE = "tuner_results.json"
_NOT_MEASURED = {"kind", "step", "elapsed_s", "epoch", "learning_rate"}
_VALIDATION = "val_"


@dataclass(frozen=True)
class Curve:
    """One value by step.

    Attributes:
        name: The value, such as `loss`.
        train: Steps and values while training.
        validation: Steps and values at the end of epochs, on the validation data.
    """

    name: str
    train: tuple[tuple[int, float], ...]
    validation: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Training:
    """Training history, as recorded by the Trainer's callback.

    Attributes:
        curves: Losses first.
        learning_rate: Steps and rates; empty if the optimizer has none.
        steps: Steps of all epochs.
        epochs: Finished epochs.
        seconds: From the first batch's beginning to the last line.
        final: Last value of each measure, by name.
    """

    curves: tuple[Curve, ...]
    learning_rate: tuple[tuple[int, float], ...]
    steps: int
    epochs: int
    seconds: float
    final: dict[str, float]


@dataclass(frozen=True)
class Trials:
    """Trials of the Tuner.

    Attributes:
        names: Hyperparameters.
        rows: Trials, best first: id, score, values.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[str, float | None, tuple[Any, ...]], ...]


def read_training(record: Record) -> Training | None:
    """Read the training history of a run; None if there is none on this machine."""
    folder = record.folder_of(NodeId.TRAINER, "model_run")
    if folder is None or not (folder / HISTORY_FILE).is_file():
        return None
    lines = []
    for text in (folder / HISTORY_FILE).read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue  # incomplete last line of a killed training
    if not lines:
        return None
    names = [
        name
        for name in dict.fromkeys(k for line in lines for k in line)
        if name not in _NOT_MEASURED
    ]
    base = list(dict.fromkeys(name.removeprefix(_VALIDATION) for name in names))
    base.sort(key=lambda name: (name != "loss", "loss" not in name, name))
    final = {name: line[name] for line in lines for name in names if name in line}
    return Training(
        curves=tuple(
            Curve(name, _series(lines, name), _series(lines, _VALIDATION + name)) for name in base
        ),
        learning_rate=_series(lines, "learning_rate"),
        steps=max(int(line["step"]) for line in lines),
        epochs=sum(line["kind"] == "epoch" for line in lines),
        seconds=float(lines[-1]["elapsed_s"]),
        final=final,
    )


def read_trials(record: Record) -> Trials | None:
    """Read the Tuner's trials; None if it did not run."""
    folder = record.folder_of(NodeId.TUNER, "tuner_results")
    if folder is None or not (folder / TRIALS_FILE).is_file():
        return None
    raw = json.loads((folder / TRIALS_FILE).read_text(encoding="utf-8"))
    skipped = {"trial_id", "score"}
    names = tuple(dict.fromkeys(k for trial in raw for k in trial if k not in skipped))
    rows = tuple(
        (str(t["trial_id"]), t.get("score"), tuple(t.get(name) for name in names)) for t in raw
    )
    return Trials(names, rows) if rows else None


def _series(lines: list[dict[str, Any]], name: str) -> tuple[tuple[int, float], ...]:
    found = [(int(line["step"]), float(line[name])) for line in lines if name in line]
    return tuple((step, value) for step, value in found if math.isfinite(value))
