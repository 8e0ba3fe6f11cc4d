"""What the configuration tells the nodes whose answers are remembered.

ExampleGen refuses a file and the data gate blocks a window *under settings*; with others the
answer may be another one. The graph hands these to the nodes, and the retraining decision holds
them against what an earlier run was told.
"""

from __future__ import annotations

from typing import Any

from ordain.config.project import Project
from ordain.project.schema import feature_types


def ingest_settings(project: Project) -> dict[str, Any]:
    """Arguments of `ordain.components.examples.example_gen.IngestOptions`."""
    return {
        "format": project.data.format,
        "types": feature_types(project.schema_file),
        "label": project.data.label,
        "drop_unlabelled": project.data.unlabelled == "drop",
    }


def gate_settings(project: Project) -> dict[str, Any]:
    """The data gate's `policy`."""
    return {
        **project.gate.model_dump(exclude={"server"}),
        "label": project.data.label,
        "is_curated": project.schema_file.exists(),
    }


def training_settings(project: Project) -> dict[str, Any]:
    """Training settings for the data gate: steps, and the batch size if it is configured.

    The batch size is `run_fn`'s own; `train.parameters.batch_size` is what the projects that come
    with ordain call it.
    """
    size = project.train.parameters.get("batch_size")
    is_known = isinstance(size, int) and not isinstance(size, bool) and size > 0
    return {"steps": project.train.steps, "batch_size": size if is_known else None}
