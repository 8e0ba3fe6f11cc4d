"""What the configuration tells the nodes whose answers are remembered.

ExampleGen refuses a file and the data gate blocks a window *under settings*; with others the
answer may be another one. The graph hands these to the nodes, and the retraining decision holds
them against what an earlier run was told.
"""

from __future__ import annotations

from typing import Any

from pipeline.config import Project
from pipeline.schema import feature_types


def ingest_settings(project: Project) -> dict[str, Any]:
    """Arguments of `components.example_gen.IngestOptions`."""
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
