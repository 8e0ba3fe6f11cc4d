"""Estimates the share of a window's training rows that the configured steps read.

The batch size is known only if it is `train.parameters.batch_size`, as in the example projects; of
other projects the Trainer's log shows it.
"""

from __future__ import annotations

from ordain.config.project import Project
from ordain.history.memory_estimate import measured_run
from ordain.pipeline.cache_key import training_settings


def unseen_rows(project: Project, rows: int | None) -> str | None:
    """A note if training ends before it has read each row once; else None.

    Args:
        project: The project.
        rows: Rows of the window; None if unknown, to use those of the newest run.
    """
    size, steps = training_settings(project)["batch_size"], project.train.steps
    if rows is None and (past := measured_run(project)) is not None:
        rows = past[2]
    if size is None or rows is None:
        return None
    split = project.data.split
    trained = round(rows * split.train / (split.train + split.eval))
    if steps * size >= trained:
        return None
    return (
        f"training sees {steps * size:,} of about {trained:,} rows: {steps:,} steps of {size:,}; "
        f"train.steps: {-(-trained // size)} sees each row once"
    )
