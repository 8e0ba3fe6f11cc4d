"""Cache keys of the nodes.

The driver of a node looks for a successful execution under the node's key, whose artifacts still
exist. The key is the SHA-256 that TFX's `cache_utils.get_cache_context` makes of

- the pipeline's name, and the node's id and component class;
- the executor: its class and, for an executor on Beam, `beam_args`;
- the input artifacts, without those that only the node's condition reads (a gate's verdict);
- the types of the output artifacts;
- the execution properties, and the text of `train.module` where one of them names it.

`ordain.upstream.tfx_cache.portable_keys` replaces paths of the workspace and the project by
placeholders first, so that a moved workspace keeps its cache. ExampleGen's driver adds span,
version and fingerprint of the files to the properties.

`KEYS` states for each node the parts that a project decides. The functions below make ordain's own
execution properties, which `ordain.pipeline.graph` passes to the components. The retraining
decision compares some of them with those of an earlier run: under other settings, ExampleGen may
accept a file that it refused, and the data gate may pass a window that it blocked.

`python -m ordain.pipeline.cache_key` prints the table of docs/running.md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ordain.common.node_id import NodeId
from ordain.config.project import Project
from ordain.project.schema import feature_types
from ordain.project.source import fingerprint


@dataclass(frozen=True)
class Key:
    """Parts of a node's cache key that a project decides.

    Attributes:
        inputs: Input artifacts as `<node>.<output>`; of optional nodes only where there is one.
        settings: Configuration keys; a section stands for all of its keys.
        has_source: True if `ordain.project.source.fingerprint` is in it.
        is_per_span: True if each span of the window has a key of its own.
        more: Other parts, in words.
    """

    inputs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    has_source: bool = False
    is_per_span: bool = False
    more: tuple[str, ...] = ()


_ON_BEAM = ("executors", "beam_args")
_TRANSFORMED = (
    "Transform.transformed_examples",
    "Transform.transform_graph",
    "SchemaGen.schema",
)
#: The resolvers (AnalyzerCache, BaseModel, Baseline, Stable) have no key: they run every time.
KEYS: Mapping[NodeId, Key] = {
    NodeId.EXAMPLE_GEN: Key(
        settings=(
            "data.path",
            "data.pattern",
            "data.format",
            "data.label",
            "data.unlabelled",
            "data.split",
            *_ON_BEAM,
        ),
        is_per_span=True,
        more=(
            "the span's files (number, size, time of change in seconds) and version",
            "the types in a frozen schema",
        ),
    ),
    NodeId.STATISTICS_GEN: Key(("ExampleGen.examples",), _ON_BEAM, is_per_span=True),
    NodeId.SCHEMA_GEN: Key(
        ("StatisticsGen.statistics",),
        ("schema_file",),
        more=("with a frozen schema its content, and no statistics",),
    ),
    NodeId.EXAMPLE_VALIDATOR: Key(
        ("StatisticsGen.statistics", "SchemaGen.schema"), is_per_span=True
    ),
    NodeId.DATA_GATE: Key(
        (
            "ExampleGen.examples",
            "StatisticsGen.statistics",
            "ExampleValidator.anomalies",
            "SchemaGen.schema",
        ),
        (
            "gate.anomalies",
            "gate.drift",
            "gate.skew_policy",
            "data.label",
            "train.steps",
            "train.parameters.batch_size",
        ),
        more=("whether the schema is frozen",),
    ),
    NodeId.TRANSFORM: Key(
        ("ExampleGen.examples", "SchemaGen.schema", "AnalyzerCache.analyzer_cache"),
        ("train.module", "data.label", *_ON_BEAM),
        has_source=True,
    ),
    NodeId.TUNER: Key(
        _TRANSFORMED,
        ("tune", "train.module", "train.parameters", "data.label"),
        has_source=True,
    ),
    NodeId.TRAINER: Key(
        (
            *_TRANSFORMED,
            "ExampleGen.examples",
            "Tuner.best_hyperparameters",
            "BaseModel.model",
        ),
        (
            "train.module",
            "train.steps",
            "train.eval_steps",
            "train.parameters",
            "data.label",
        ),
        has_source=True,
    ),
    NodeId.EVALUATOR: Key(
        ("ExampleGen.examples", "Trainer.model", "Baseline.model", "SchemaGen.schema"),
        (
            "evaluate.metrics",
            "evaluate.slices",
            "evaluate.thresholds",
            "data.label",
            *_ON_BEAM,
        ),
        more=("the newest span, where a threshold has `newest`",),
    ),
    NodeId.SERVER_GATE: Key(
        ("Trainer.model", "ExampleGen.examples", "Stable.model"),
        ("gate.server",),
        more=("`Baseline.model` instead where `evaluate.baseline` is `stable`",),
    ),
    NodeId.PUSHER: Key(
        (
            "Trainer.model",
            "Evaluator.blessing",
            "Evaluator.evaluation",
            "ServerGate.blessing",
            "DataGate.verdict",
            "ExampleGen.examples",
            "SchemaGen.schema",
        ),
        ("push", "data.label"),
        has_source=True,
        more=("the serving directory",),
    ),
}


def ingest_settings(project: Project) -> dict[str, Any]:
    """Arguments of `ordain.components.examples.example_gen.IngestOptions`."""
    return {
        "format": project.data.format,
        "types": feature_types(project.schema_file),
        "label": project.data.label,
        "drop_unlabelled": project.data.unlabelled == "drop",
    }


def gate_settings(project: Project) -> dict[str, Any]:
    """DataGate's `policy`."""
    return {
        **project.gate.model_dump(exclude={"server"}),
        "label": project.data.label,
        "is_curated": project.schema_file.exists(),
    }


def training_settings(project: Project) -> dict[str, Any]:
    """DataGate's `training`: steps, and the batch size if it is configured.

    The batch size is a parameter of `run_fn`; the example projects call it
    `train.parameters.batch_size`.
    """
    size = project.train.parameters.get("batch_size")
    is_known = isinstance(size, int) and not isinstance(size, bool) and size > 0
    return {"steps": project.train.steps, "batch_size": size if is_known else None}


def transform_config(project: Project) -> dict[str, Any]:
    """Transform's `custom_config`; without `train.parameters`, which do not affect the analysis."""
    return {"source_fingerprint": fingerprint(project.folder), "label": project.data.label}


def training_config(project: Project) -> dict[str, Any]:
    """`custom_config` of Tuner and Trainer; references in the parameters stay references."""
    return {**transform_config(project), "parameters": dict(project.train.parameters)}


def push_settings(project: Project) -> dict[str, Any]:
    """Pusher's `custom_config`, from which it fills the manifest."""
    return {**transform_config(project), "project": project.name, **project.push.settings}


def table() -> str:
    """The cache keys as a Markdown table, a row for each node."""
    rows = ["| Node | Artifacts | Settings | Also |", "|---|---|---|---|"]
    for node, key in KEYS.items():
        also = (*key.more, *(("the project's source",) if key.has_source else ()))
        cells = (
            f"{node}, per span" if key.is_per_span else str(node),
            ", ".join(f"`{name}`" for name in key.inputs),
            ", ".join(f"`{name}`" for name in key.settings),
            "; ".join(also),
        )
        rows.append("".join(f"| {cell} ".replace("|  ", "| ") for cell in cells) + "|")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
