"""A project to a PipelineJob for Vertex AI, by TFX's own KubeflowV2DagRunner.

Vertex AI drives the nodes itself: it resolves inputs, keeps its own metadata and cache, and runs
TFX's `kubeflow_v2_run_executor` in each container. What our driver does in ML Metadata (spans of
a window, resolvers of our own) it cannot; `obstacles` names each node that needs it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ordain.common.env_references import has_reference
from ordain.common.node_id import NodeId
from ordain.config.loading import load_raw, load_unresolved
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.kubeflow.compiler.compiler import Compiled
from ordain.pipeline.topology import chain_of

#: Sections that no node of Vertex reads.
_UNUSED = ("kubeflow", "metadata", "notify", "retrain", "schedule", "workspace")
#: Where Vertex AI mounts Cloud Storage in every container.
MOUNT = "/gcs/"
#: All files of a project without spans are this one.
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
        ConfigError: The configuration is wrong, or Vertex AI cannot run a node of the chain;
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
    """What Vertex AI cannot run of a project: a node or a key, and why and what would do.

    The reasons are those of TFX 1.21's `orchestration/kubeflow/v2` (`step_builder.py`,
    `compiler_utils.py`) and of what its containers are given: addresses `gs://`, no variables.
    """
    found: list[tuple[str, str]] = []
    data, section = project.data, project.kubeflow
    nodes = chain_of(project)
    if data.window != 1 or data.has_spans:
        why = (
            "its spans run one by one through the driver of ordain; Vertex starts a node once "
            "and does not tell it its span (data.pattern without {SPAN} and dates, data.window: 1)"
        )
        found += [
            (node, why)
            for node in (NodeId.EXAMPLE_GEN, NodeId.STATISTICS_GEN, NodeId.EXAMPLE_VALIDATOR)
        ]
    if not str(data.path).startswith(MOUNT):
        why = f"data.path {data.path} is not there on Vertex (use {MOUNT}bucket/folder)"
        found.append((NodeId.EXAMPLE_GEN, why))
    strategies = {
        NodeId.BASE_MODEL: "leave out train.base_model",
        NodeId.BASELINE: "evaluate.baseline: {none: reason}",
    }
    for node, instead in strategies.items():
        if node in nodes:
            why = f"its resolver has a strategy of our own, Vertex knows TFX's only ({instead})"
            found.append((node, why))
    if NodeId.SERVER_GATE in nodes:
        kind = "it serves the model from a local folder, and Vertex hands it gs://"
        if project.gate.server.runner != "ordain":
            kind = "TFX's runner for Vertex does not compile InfraValidator"
        found.append((NodeId.SERVER_GATE, f"{kind} (gate.server.none: reason)"))
    if not project.is_pushed_away:
        why = "a folder of its container is gone with it (push.directory: gs://bucket/folder)"
        found.append((NodeId.PUSHER, why))
    if project.push.signing is not None:
        found.append(
            (NodeId.PUSHER, "Vertex gives it no key to sign with (leave out push.signing)")
        )
    if not (section.pipeline_root or "").startswith("gs://"):
        why = f"is {section.pipeline_root or 'not set'}; Vertex takes gs://bucket/folder only"
        found.append(("kubeflow.pipeline_root", why))
    if section.image is None:
        found.append(("kubeflow.image", "is not set (`make image` builds one)"))
    return found


def _references(value: Any, key: str = "") -> list[tuple[str, str]]:
    """References that no container could look up: TFX's runner gives it no variables."""
    if isinstance(value, Mapping):
        return [
            one for k, below in value.items() for one in _references(below, f"{key}.{k}".strip("."))
        ]
    if isinstance(value, (list, tuple)):
        return [one for below in value for one in _references(below, key)]
    if has_reference(value):
        return [(key, f"holds {value}; TFX's runner gives Vertex's containers no variables")]
    return []


def _notes(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """What is left out, and was asked for."""
    notes = ["AnalyzerCache is left out: Vertex knows no such resolver; Transform analyzes anew"]
    carried = {"image", "pipeline_root", "project"}
    section = raw.get("kubeflow")
    rest = sorted(set(section) - carried) if isinstance(section, Mapping) else []
    unused = [f"kubeflow.{key}" + " but for images" * (key == "nodes") for key in rest]
    unused += [key for key in ("metadata", "notify", "retrain", "schedule") if key in raw]
    if unused:
        notes.append(f"not used on Vertex: {', '.join(unused)}")
    return tuple(notes)


def _build(project: Project, shape: Project) -> dict[str, Any]:
    """The job, by TFX's runner."""
    from tfx.orchestration import data_types  # noqa: PLC0415  TFX takes fifteen seconds
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as runner  # noqa: PLC0415

    from ordain.pipeline import graph  # noqa: PLC0415

    section = shape.kubeflow
    images = {"default_image_path": section.image}
    images |= {node: pod.image for node, pod in section.nodes.items() if pod.image is not None}
    chain = graph.build(project, _SPAN, has_cache=False)
    root = str(section.pipeline_root)
    chain.pipeline_info = data_types.PipelineInfo(pipeline_name=shape.name, pipeline_root=root)
    config = runner.KubeflowV2DagRunnerConfig(display_name=shape.name, default_image=images)
    with _importable_types():
        job = runner.KubeflowV2DagRunner(config).run(chain, write_out=False)
    # Which Python compiled it changes nothing that runs, and would change the file.
    job["labels"].pop("tfx_py_version", None)
    return dict(job)


@contextlib.contextmanager
def _importable_types() -> Iterator[None]:
    """Names our artifact types as Vertex's containers import them.

    TFX writes a type's name where its container looks for `<package>.<Class>`; in ML Metadata
    the type keeps the name it has.
    """
    from ordain.components.artifacts.types import GateVerdict  # noqa: PLC0415

    name = GateVerdict.TYPE_NAME
    GateVerdict.TYPE_NAME = "ordain.GateVerdict"
    try:
        yield
    finally:
        GateVerdict.TYPE_NAME = name


def _in_the_image(value: Any, folder: Path, image: str) -> Any:
    """The job with paths of the project's folder as the containers have them."""
    if isinstance(value, dict):
        return {key: _in_the_image(below, folder, image) for key, below in value.items()}
    if isinstance(value, list):
        return [_in_the_image(below, folder, image) for below in value]
    if isinstance(value, str) and value.startswith(f"{folder}/"):
        return f"{image}{value.removeprefix(str(folder))}"
    return value
