"""The first task of a run: the database, the plan, and the chain that all others read.

What can be wrong is found here, before a pod with a GPU starts: the image, the configuration, the
data, the database. A retried `prepare` finds what the first try wrote and says the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from ordain.config.loading import load_raw
from ordain.config.project import Project
from ordain.errors import ConfigError, InfrastructureError
from ordain.history.results import Recovered
from ordain.kubeflow import pipeline_root as roots
from ordain.kubeflow.pod.run_plan import Chain, check_run_id, find_plan, write_chain
from ordain.kubeflow.pod.task_records import recorded
from ordain.kubeflow.task_contract import PREPARE
from ordain.pipeline.ir_cache import compiled_ir
from ordain.pipeline.preload import project_on_path
from ordain.project.source import image_fingerprint
from ordain.runner.pod_lock import beside_pods
from ordain.runner.preflight import make_plan
from ordain.runner.run import quiet_libraries
from ordain.storage import artifact_store

#: Settings that a compiled file has already answered.
_SETTLED = {
    "name": "it names the pipeline",
    "kubeflow": "it makes the tasks",
    "workspace": "use the parameter pipeline_root",
}
_MAX_SETTINGS = 1000


@dataclass(frozen=True)
class Asked:
    """What the task was told.

    Attributes:
        project: The project's folder in the image.
        config: The configuration that was compiled, as JSON, references unresolved.
        env: Name of the overlay in it; empty for none.
        source: The source's image_fingerprint at compile time.
        chain: The compiled chain as JSON: the nodes, each with those that it waits for.
        span: Last span of the window; empty for the newest.
        settings: JSON list of `a.b=value` texts; empty for none.
        pipeline_root: The workspace, or `gs://bucket/folder`; empty for the configuration's.
        run_id: Kubeflow's id of the run.
    """

    project: str
    config: str
    env: str
    source: str
    chain: str
    span: str
    settings: str
    pipeline_root: str
    run_id: str


def prepare(asked: Asked, say: Callable[[str], None]) -> tuple[str, Chain]:
    """Makes everything ready for the nodes.

    Args:
        asked: What the task was told.
        say: Is told what happens, a line each.

    Returns:
        The plan, and the chain that it names.

    Raises:
        ConfigError: The image, the parameters or the project are wrong.
        InfrastructureError: The volume or the database is.
    """
    quiet_libraries()
    run_id = check_run_id(asked.run_id)
    project = load_asked(
        asked.project, asked.config, asked.env, asked.settings, asked.pipeline_root
    )
    with roots.shared(project.workspace), recorded(project.runs / run_id, PREPARE):
        return _prepare(asked, project, run_id, say)


def load_asked(folder: str, config: str, env: str, settings: str, pipeline_root: str) -> Project:
    """The project as the words of a task tell it; each argument is as `Asked` has it.

    Raises:
        ConfigError: A word, or the configuration, is wrong.
    """
    given = _settings(settings)
    raw = _configuration(config, pipeline_root)
    project = load_raw(raw, folder, env or None, given)
    roots.check_project(project)
    return project


def _prepare(
    asked: Asked, project: Project, run_id: str, say: Callable[[str], None]
) -> tuple[str, Chain]:
    from ordain.kubeflow.pod.run_plan import read_chain  # noqa: PLC0415

    _check_source(project.folder, project.schema_file, asked.source)
    plan = find_plan(project.runs, run_id)
    if plan is not None:
        say(f"run {run_id} was prepared before: its plan holds")
        return plan, read_chain(plan, run_id)
    checked = make_plan(project, _span(asked.span))
    with project_on_path(project.folder):
        ir = compiled_ir(project, checked.newest)
    from ordain.pipeline import span_binding  # noqa: PLC0415  TFX is loaded by now

    _check_nodes(ir, asked)
    ir = span_binding.bind_run(ir, run_id)
    spans = tuple(span.number for span in checked.window)
    with beside_pods(project, run_id, say) as locks:
        from ordain.kubeflow.pod import registration  # noqa: PLC0415  TFX is loaded by now

        recovered = registration.register_run(project, ir, spans, run_id, locks)
    for closed in recovered:
        say(closed.text)
    chain = Chain(
        run_id=run_id,
        folder=str(project.folder),
        env=asked.env or None,
        config=project.effective,
        spans=spans,
        ir=_as_json(ir),
        notes=checked.notes,
        recovered=tuple(asdict(closed) for closed in recovered),
    )
    _write_config(chain, project)
    return write_chain(chain, project.runs), chain


def recovered_of(chain: Chain) -> list[Recovered]:
    """What `prepare` closed of runs before."""
    return [
        Recovered(
            raw["run_id"],
            tuple(raw["nodes"]),
            tuple(raw["execution_ids"]),
            int(raw["removed"]),
            raw["reason"],
        )
        for raw in chain.recovered
    ]


def _configuration(config: str, pipeline_root: str) -> dict[str, Any]:
    try:
        raw = json.loads(config)
    except ValueError as error:
        raise ConfigError("--config: is not JSON", "compile the pipeline again") from error
    if not isinstance(raw, dict):
        raise ConfigError("--config: must be a JSON object", "compile the pipeline again")
    root = pipeline_root or raw.get("workspace")
    if root:
        raw["workspace"] = roots.workspace(str(root))
    return raw


def _settings(text: str) -> tuple[str, ...]:
    """The settings of this run.

    Raises:
        ConfigError: They are no list of texts, or one of them cannot change any more.
    """
    if not text.strip():
        return ()
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ConfigError(
            f"settings {text[:80]!r}: is not JSON", """for example ["train.steps=500"]"""
        ) from error
    is_list = isinstance(given, list) and len(given) <= _MAX_SETTINGS
    if not is_list or not all(isinstance(setting, str) for setting in given):
        raise ConfigError(
            f"settings {text[:80]!r}: must be a JSON list of texts, at most {_MAX_SETTINGS}",
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
    """Refuses an image that holds other code than what was compiled."""
    if not folder.is_dir():
        raise ConfigError(
            f"--project {folder}: there is no such folder in this image",
            "kubeflow.project in pipeline.yaml names it; build the image with it (make image)",
        )
    found = image_fingerprint(folder, schema_file)
    if found != expected:
        raise ConfigError(
            f"{folder}: the image holds another version of the project (source {found[:12]}) than "
            f"what was compiled ({expected[:12]})",
            "build the image anew (make image), or compile again from the code that it holds",
        )


def _check_nodes(ir: Any, asked: Asked) -> None:
    """Refuses to run another chain than the file has tasks for."""
    try:
        compiled = {str(node): set(before) for node, before in json.loads(asked.chain).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            "--chain: is not JSON of a chain", "compile the pipeline again"
        ) from error
    here = {
        node.pipeline_node.node_info.id: set(node.pipeline_node.upstream_nodes) for node in ir.nodes
    }
    if here == compiled:
        return
    change = [f"adds {name}" for name in here.keys() - compiled.keys()]
    change += [f"removes {name}" for name in compiled.keys() - here.keys()]
    change += [f"changes what {n} waits for" for n in here if compiled.get(n, here[n]) != here[n]]
    why = f"settings {asked.settings[:200]}" if asked.settings.strip() else "what this image holds"
    raise ConfigError(
        f"{why}: {', '.join(sorted(change))}, and the compiled pipeline has a task for each node",
        "compile again with it (ordain compile PROJECT --set ...)",
    )


def _as_json(ir: Any) -> dict[str, Any]:
    from google.protobuf import json_format  # noqa: PLC0415

    return dict(json_format.MessageToDict(ir, preserving_proto_field_name=True))


def _write_config(chain: Chain, project: Project) -> None:
    """The effective configuration beside the run, as a local run writes it."""
    path = project.runs / chain.run_id / "pipeline.yaml"
    text = yaml.safe_dump(dict(chain.config), sort_keys=False, allow_unicode=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InfrastructureError(f"{path} cannot be written: {error.strerror}") from error
    artifact_store.push(path)
