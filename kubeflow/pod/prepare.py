"""The first task of a run: database, plan, and the IR that all other tasks read.

Problems of the image, the configuration, the data and the database are found here, before a pod
with a GPU starts. A retried `prepare` returns what the first attempt wrote.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ordain.common.atomic_files import write_file
from ordain.config.loading import load_raw
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.kubeflow import pipeline_root as roots
from ordain.kubeflow.pod.run_plan import (
    PreparedRun,
    check_run_id,
    find_plan,
    read_prepared,
    write_prepared,
)
from ordain.kubeflow.pod.task_records import recorded
from ordain.kubeflow.task_contract import PREPARE
from ordain.pipeline.ir_cache import compiled_ir
from ordain.project.imports import project_on_path
from ordain.project.source import image_fingerprint
from ordain.runner.pod_lock import beside_pods
from ordain.runner.preflight import make_plan
from ordain.runner.run import quiet_libraries
from ordain.storage import artifact_store

#: Settings that are fixed in a compiled file.
_SETTLED = {
    "name": "it is the pipeline's name",
    "kubeflow": "it is compiled into the tasks",
    "workspace": "use the parameter pipeline_root",
}
_MAX_SETTINGS = 1000


@dataclass(frozen=True)
class ProjectArguments:
    """The arguments of the tasks that take no run plan.

    Attributes:
        project: The project's folder in the image.
        config: The compiled configuration as JSON, references unresolved.
        env: Name of the overlay in it; empty for none.
        settings: JSON list of `a.b=value` texts; empty for none.
        pipeline_root: The workspace, or `gs://bucket/folder`; empty for the configuration's.
    """

    project: str
    config: str
    env: str
    settings: str
    pipeline_root: str

    def load(self) -> Project:
        """Loads the project.

        Raises:
            ConfigError: An argument or the configuration is wrong.
        """
        given = _settings(self.settings)
        raw = _configuration(self.config, self.pipeline_root)
        project = load_raw(raw, self.project, self.env or None, given)
        roots.check_project(project)
        return project


@dataclass(frozen=True)
class PrepareArguments(ProjectArguments):
    """The arguments of `prepare`.

    Attributes:
        source: The source's image_fingerprint at compile time.
        nodes: The compiled topology as JSON: node -> the nodes that it waits for.
        span: Last span of the window; empty for the newest.
        run_id: Kubeflow's id of the run.
    """

    source: str
    nodes: str
    span: str
    run_id: str


def prepare(arguments: PrepareArguments, say: Callable[[str], None]) -> tuple[str, PreparedRun]:
    """Prepares a run for its nodes.

    Args:
        arguments: The task's arguments.
        say: Receives log lines.

    Returns:
        The plan, and the prepared run that it names.

    Raises:
        ConfigError: The image, the parameters or the project are wrong.
        InfrastructureError: The volume or the database cannot be used.
    """
    quiet_libraries()
    run_id = check_run_id(arguments.run_id)
    project = arguments.load()
    with roots.shared(project.workspace), recorded(project.runs / run_id, PREPARE):
        return _prepare(arguments, project, run_id, say)


def _prepare(
    arguments: PrepareArguments,
    project: Project,
    run_id: str,
    say: Callable[[str], None],
) -> tuple[str, PreparedRun]:
    _check_source(project.folder, project.schema_file, arguments.source)
    plan = find_plan(project.runs, run_id)
    if plan is not None:
        say(f"run {run_id} is already prepared: using its plan")
        return plan, read_prepared(plan, run_id)
    checked = make_plan(project, _span(arguments.span))
    with project_on_path(project.folder):
        ir = compiled_ir(project, checked.newest)
    from ordain.pipeline import span_binding  # noqa: PLC0415  TFX is loaded by now

    _check_nodes(ir, arguments)
    ir = span_binding.bind_run(ir, run_id)
    spans = tuple(span.number for span in checked.window)
    with beside_pods(project, run_id, say) as locks:
        from ordain.kubeflow.pod import registration  # noqa: PLC0415  TFX is loaded by now

        recovered = registration.register_run(project, ir, spans, run_id, locks)
    for closed in recovered:
        say(closed.text)
    prepared = PreparedRun(
        run_id=run_id,
        folder=str(project.folder),
        env=arguments.env or None,
        config=project.effective,
        spans=spans,
        ir=_as_json(ir),
        notes=checked.notes,
        recovered=tuple(recovered),
    )
    _write_config(prepared, project)
    return write_prepared(prepared, project.runs), prepared


def _configuration(config: str, pipeline_root: str) -> dict[str, Any]:
    try:
        raw = json.loads(config)
    except ValueError as error:
        raise ConfigError("--config: not JSON", "compile the pipeline again") from error
    if not isinstance(raw, dict):
        raise ConfigError("--config: must be a JSON object", "compile the pipeline again")
    root = pipeline_root or raw.get("workspace")
    if root:
        raw["workspace"] = roots.workspace(str(root))
    return raw


def _settings(text: str) -> tuple[str, ...]:
    """Parses the settings of this run.

    Raises:
        ConfigError: They are not a list of strings, or one is fixed in the compiled file.
    """
    if not text.strip():
        return ()
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ConfigError(
            f"settings {text[:80]!r}: not JSON", """for example ["train.steps=500"]"""
        ) from error
    is_list = isinstance(given, list) and len(given) <= _MAX_SETTINGS
    if not is_list or not all(isinstance(setting, str) for setting in given):
        raise ConfigError(
            f"settings {text[:80]!r}: must be a JSON list of strings, at most {_MAX_SETTINGS}",
            """for example ["train.steps=500"]""",
        )
    for setting in given:
        key = setting.partition("=")[0].strip().partition(".")[0]
        if key in _SETTLED:
            raise ConfigError(
                f"settings: {key} cannot be set for a run: {_SETTLED[key]}",
                "change pipeline.yaml, then ordain compile",
            )
    return tuple(given)


def _span(text: str) -> int | None:
    if not text.strip():
        return None
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError(
            f"span {text[:40]!r}: must be the number of a span, or empty for the newest"
        ) from error


def _check_source(folder: Path, schema_file: Path, expected: str) -> None:
    """Refuses an image whose code differs from the compiled one."""
    if not folder.is_dir():
        raise ConfigError(
            f"--project {folder}: no such folder in this image",
            "kubeflow.project in pipeline.yaml names it; build the image with it (make image)",
        )
    found = image_fingerprint(folder, schema_file)
    if found != expected:
        raise ConfigError(
            f"{folder}: the image has source {found[:12]}, the compiled pipeline expects "
            f"{expected[:12]}",
            "rebuild the image (make image), or compile again from the image's code",
        )


def _check_nodes(ir: Any, arguments: PrepareArguments) -> None:
    """Refuses a run whose nodes differ from the compiled tasks."""
    try:
        compiled = {str(node): set(before) for node, before in json.loads(arguments.nodes).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            "--nodes: not a topology as JSON", "compile the pipeline again"
        ) from error
    here = {
        node.pipeline_node.node_info.id: set(node.pipeline_node.upstream_nodes) for node in ir.nodes
    }
    if here == compiled:
        return
    change = [f"adds {name}" for name in here.keys() - compiled.keys()]
    change += [f"removes {name}" for name in compiled.keys() - here.keys()]
    change += [
        f"changes the upstream nodes of {n}" for n in here if compiled.get(n, here[n]) != here[n]
    ]
    why = (
        f"settings {arguments.settings[:200]}"
        if arguments.settings.strip()
        else "the image's project"
    )
    raise ConfigError(
        f"{why}: {', '.join(sorted(change))}, but the nodes are compiled into tasks",
        "compile again with it (ordain compile PROJECT --set ...)",
    )


def _as_json(ir: Any) -> dict[str, Any]:
    from google.protobuf import json_format  # noqa: PLC0415
    from tfx.proto.orchestration import executable_spec_pb2  # noqa: F401, PLC0415  `Any`s hold them

    return dict(json_format.MessageToDict(ir, preserving_proto_field_name=True))


def _write_config(prepared: PreparedRun, project: Project) -> None:
    """Writes the effective configuration into the run's folder, as a local run does."""
    path = project.runs / prepared.run_id / "pipeline.yaml"
    text = yaml.safe_dump(dict(prepared.config), sort_keys=False, allow_unicode=True)
    write_file(path, text, writer=secrets.token_hex(4))
    artifact_store.current().push(path)
