"""Compiles a project to a PipelineJob for Vertex AI with TFX's KubeflowV2DagRunner.

Vertex AI drives the nodes itself: it resolves inputs, has its own metadata and cache, and runs
TFX's `kubeflow_v2_run_executor` in each container. It does not support what our driver does in ML
Metadata (spans of a window, custom resolvers); `obstacles` names each node that needs it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ordain.common.env_references import has_reference
from ordain.common.node_id import NodeId
from ordain.config.loading import load_raw, load_unresolved
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.kubeflow.compiler.compiler import Compiled
from ordain.pipeline.topology import topology_of
from ordain.upstream.replace import replaced

#: Sections that no node reads on Vertex.
_UNUSED = ("kubeflow", "metadata", "notify", "retrain", "schedule", "workspace")
#: Where Vertex AI mounts Cloud Storage in every container.
MOUNT = "/gcs/"
#: The span of a project without spans.
_SPAN = 0
_DOCS = "see docs/kubeflow-compile.md#vertex-ai"


def compile_project(
    folder: str | Path, env: str | None = None, settings: Iterable[str] = ()
) -> Compiled:
    """Compiles a project for Vertex AI.

    Args:
        folder: The project's folder.
        env: Name of an overlay.
        settings: `a.b=value` texts, which become part of the file.

    Returns:
        The PipelineJob as JSON.

    Raises:
        ConfigError: The configuration is wrong, or Vertex AI cannot run a node; the message
            names every such node and why.
    """
    shape = load_unresolved(folder, env, settings)
    raw, root = shape.effective, shape.folder
    used = {key: value for key, value in raw.items() if key not in _UNUSED}
    found = [*obstacles(shape), *_references(used)]
    if found:
        lines = [f"{who}: {why}" for who, why in found]
        raise ConfigError("Vertex AI cannot run this project:\n" + "\n".join(lines), _DOCS)
    job = _build(load_raw(used, root, env), shape)
    text = json.dumps(_in_the_image(job, root, shape.kubeflow.project), indent=1, sort_keys=True)
    tasks = job["pipelineSpec"]["root"]["dag"]["tasks"]
    return Compiled(shape.name, f"{text}\n", len(tasks), _notes(raw))


def obstacles(project: Project) -> list[tuple[str, str]]:
    """Nodes and keys of a project that Vertex AI cannot run, each with the reason and the fix.

    The reasons come from TFX 1.21's `orchestration/kubeflow/v2` (`step_builder.py`,
    `compiler_utils.py`) and from its containers, which get `gs://` addresses and no variables.
    """
    found: list[tuple[str, str]] = []
    data, section = project.data, project.kubeflow
    for own in project.nodes:
        why = "TFX's runner for Vertex does not pass a component its place and source"
        found.append((f"nodes.{own.id}", f"{why} (leave out nodes)"))
    nodes = topology_of(project.model_copy(update={"nodes": ()}))  # own ones would be imported
    if data.window != 1 or data.has_spans:
        why = (
            "its spans run one by one through ordain's driver; Vertex starts a node once and does "
            "not pass it a span (data.pattern without {SPAN} and dates, data.window: 1)"
        )
        found += [
            (node, why)
            for node in (NodeId.EXAMPLE_GEN, NodeId.STATISTICS_GEN, NodeId.EXAMPLE_VALIDATOR)
        ]
    if not str(data.path).startswith(MOUNT):
        why = f"data.path {data.path} does not exist on Vertex (use {MOUNT}bucket/folder)"
        found.append((NodeId.EXAMPLE_GEN, why))
    strategies = {
        NodeId.BASE_MODEL: "leave out train.base_model",
        NodeId.BASELINE: "evaluate.baseline: {none: reason}",
    }
    for node, instead in strategies.items():
        if node in nodes:
            why = f"its resolver has a custom strategy, Vertex supports TFX's only ({instead})"
            found.append((node, why))
    if NodeId.SERVER_GATE in nodes:
        kind = "it serves the model from a local folder, and Vertex passes gs://"
        if project.gate.server.runner != "ordain":
            kind = "TFX's runner for Vertex does not compile InfraValidator"
        found.append((NodeId.SERVER_GATE, f"{kind} (gate.server.none: reason)"))
    if not project.is_pushed_away:
        why = "a folder of its container is lost with it (push.directory: gs://bucket/folder)"
        found.append((NodeId.PUSHER, why))
    if project.push.signing is not None:
        found.append((NodeId.PUSHER, "Vertex provides no signing key (leave out push.signing)"))
    if not (section.pipeline_root or "").startswith("gs://"):
        why = f"is {section.pipeline_root or 'not set'}; must be gs://bucket/folder on Vertex"
        found.append(("kubeflow.pipeline_root", why))
    if section.image is None:
        found.append(("kubeflow.image", "is not set (`make image` builds one)"))
    return found


def _references(value: Any, key: str = "") -> list[tuple[str, str]]:
    """References that no container can resolve: TFX's runner passes no variables."""
    if isinstance(value, Mapping):
        return [
            one for k, below in value.items() for one in _references(below, f"{key}.{k}".strip("."))
        ]
    if isinstance(value, (list, tuple)):
        return [one for below in value for one in _references(below, key)]
    if has_reference(value):
        return [(key, f"holds {value}; TFX's runner passes no variables to Vertex's containers")]
    return []


def _notes(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Notes on settings that are not used."""
    notes = ["AnalyzerCache is left out: Vertex has no such resolver; Transform analyzes all data"]
    carried = {"image", "pipeline_root", "project"}
    section = raw.get("kubeflow")
    rest = sorted(set(section) - carried) if isinstance(section, Mapping) else []
    unused = [f"kubeflow.{key}" + " but for images" * (key == "nodes") for key in rest]
    unused += [key for key in ("metadata", "notify", "retrain", "schedule") if key in raw]
    if unused:
        notes.append(f"not used on Vertex: {', '.join(unused)}")
    return tuple(notes)


def _build(project: Project, shape: Project) -> dict[str, Any]:
    """Builds the job with TFX's runner."""
    from tfx.orchestration import data_types  # noqa: PLC0415  TFX takes fifteen seconds
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as runner  # noqa: PLC0415

    from ordain.components.artifacts.types import GateVerdict  # noqa: PLC0415
    from ordain.pipeline import graph  # noqa: PLC0415

    section = shape.kubeflow
    images = {"default_image_path": section.image}
    images |= {node: pod.image for node, pod in section.nodes.items() if pod.image is not None}
    pipeline = graph.build(project, _SPAN, has_cache=False)
    root = str(section.pipeline_root)
    pipeline.pipeline_info = data_types.PipelineInfo(pipeline_name=shape.name, pipeline_root=root)
    config = runner.KubeflowV2DagRunnerConfig(display_name=shape.name, default_image=images)
    # TFX writes the type's name where Vertex AI's container expects `<package>.<Class>`; in ML
    # Metadata the name stays.
    with replaced(GateVerdict, "TYPE_NAME", "ordain.GateVerdict"):
        job = runner.KubeflowV2DagRunner(config).run(pipeline, write_out=False)
    # The compiling Python's version does not affect the run, but would change the file.
    job["labels"].pop("tfx_py_version", None)
    return dict(job)


def _in_the_image(value: Any, folder: Path, image: str) -> Any:
    """Replaces the project's folder by its path in the containers."""
    if isinstance(value, dict):
        return {key: _in_the_image(below, folder, image) for key, below in value.items()}
    if isinstance(value, list):
        return [_in_the_image(below, folder, image) for below in value]
    if isinstance(value, str) and value.startswith(f"{folder}/"):
        return f"{image}{value.removeprefix(str(folder))}"
    return value
