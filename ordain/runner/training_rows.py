"""Estimates the share of a window's training rows that the configured steps read.

The batch size is `run_fn`'s own: `train.parameters.batch_size` is what the projects that come with
ordain call it. Of another project the Trainer's log says it afterwards.
"""

from __future__ import annotations

from ordain.config.project import Project
from ordain.history.memory_estimate import measured_run
from ordain.pipeline.cache_key import training_settings


def unseen_rows(project: Project, rows: int | None) -> str | None:
    """A sentence if training ends before it has seen each row once; else None.

    Args:
        project: The project.
        rows: Rows of the window; None if its files do not say: those of the newest run count then.
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
