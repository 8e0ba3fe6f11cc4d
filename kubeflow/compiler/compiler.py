"""A project to the file that Kubeflow Pipelines 2.x runs: PipelineSpec and PlatformSpec.

One container task for each node of the chain, between `prepare` and `result`, and `on-exit` after
all of them, however they ended. Compiling looks at
the project's files only: no cluster, no bucket, no network, no environment variable. The same
project gives the same bytes.
"""

from __future__ import annotations

import difflib
import posixpath
import re
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordain.config.kubeflow import Kubeflow
from ordain.config.loading import load_unresolved
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.kubeflow.pipeline_root import check_bucket
from ordain.kubeflow.task_contract import (
    ON_EXIT,
    PREPARE,
    RESULT,
    on_exit_words,
    prepare_words,
    task_name,
)
from ordain.kubeflow.validation import validate as rules
from ordain.metadata.location import POSTGRES_PORT
from ordain.pipeline.topology import Shape, chain_of
from ordain.project.source import image_fingerprint
from ordain.storage.gcs import is_object_store

DOCS = "see docs/kubeflow-compile.md"
_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Compiled:
    """A compiled project.

    Attributes:
        name: The pipeline's name.
        text: The file: two YAML documents.
        tasks: How many tasks it has.
        notes: What the user should know, a sentence each.
    """

    name: str
    text: str
    tasks: int
    notes: tuple[str, ...]


def compile_project(
    folder: str | Path, env: str | None = None, settings: Iterable[str] = ()
) -> Compiled:
    """Compiles a project for Kubeflow Pipelines.

    Args:
        folder: The project's folder.
        env: Name of an overlay.
        settings: `a.b=value` texts, which become part of the file.

    Raises:
        ConfigError: The configuration is wrong, or the cluster would refuse the file.
    """
    project = load_unresolved(folder, env, settings)
    raw = project.effective
    # Where the file is sent, and what its pods ask for, is nothing that a pod has to know.
    told = {key: value for key, value in raw.items() if key != "kubeflow"}
    where = pipeline_root(project, raw)
    chain = chain_of(project)
    source = image_fingerprint(project.folder, project.schema_file)
    first = prepare_words(project.kubeflow.project, told, env, source, chain)
    last = on_exit_words(project.kubeflow.project, told, env)
    text = compile_chain(project, chain, first, last, where)
    return Compiled(project.name, text, len(chain) + 3, _notes(project, told))


def compile_text(folder: str | Path, env: str | None = None, settings: Iterable[str] = ()) -> str:
    """The text of a project's compiled file; as `compile_project`."""
    return compile_project(folder, env, settings).text


def compile_chain(
    project: Project, chain: Shape, prepare: list[str], on_exit: list[str], root: str
) -> str:
    """Compiles a chain of any shape and checks the result.

    Args:
        project: The project; its name and its section `kubeflow` are used.
        chain: The chain's shape.
        prepare: The fixed words of `prepare`.
        on_exit: The fixed words of `on-exit`.
        root: Default of the run parameter `pipeline_root`.

    Returns:
        The file's text.

    Raises:
        ConfigError: The section does not fit the chain, or a rule of the backend is broken.
    """
    images = _images(project, chain)
    with warnings.catch_warnings():
        # KFP tells of its own deprecations, which is nothing that a user can act on.
        warnings.simplefilter("ignore")
        from ordain.kubeflow.compiler.components import build_pipeline  # noqa: PLC0415  KFP takes a second

        text = _write(build_pipeline(project, chain, prepare, on_exit, root, images))
    rules.check(text)
    return text


def _write(pipeline: Any) -> str:
    from kfp import compiler  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        return path.read_text(encoding="utf-8")


def _images(project: Project, chain: Shape) -> dict[str, str]:
    """The image of each task.

    Raises:
        ConfigError: One has none, or the section names a node that the chain does not have.
    """
    section = project.kubeflow
    names = [PREPARE, *chain, RESULT]
    for node in section.nodes:
        if node not in names:
            near = difflib.get_close_matches(node, names, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names)}"
            raise ConfigError(f"kubeflow.nodes.{node}: the chain has no such node{meant}", DOCS)
    tasks = [task_name(name) for name in (*names, ON_EXIT)]
    twice = sorted({name for name in names if tasks.count(task_name(name)) > 1})
    if twice:
        raise ConfigError(
            f"nodes {', '.join(twice)}: Kubernetes would call them the same, {task_name(twice[0])}"
        )
    images = {name: section.pod(name).image or section.image for name in names}
    for name, image in images.items():
        if image is None:
            raise ConfigError(
                f"kubeflow.image: is not set, and {name} has no image of its own",
                f"`make image` builds one; {DOCS}",
            )
    return {name: str(image) for name, image in images.items()}


def pipeline_root(project: Project, raw: Mapping[str, Any]) -> str:
    """What the pods share: the workspace as they see it, or `gs://bucket/folder`.

    Raises:
        ConfigError: It is on none of the volumes that all pods mount, or with a bucket something
            else is.
    """
    section = project.kubeflow
    told = section.pipeline_root or raw.get("workspace")
    key = "kubeflow.pipeline_root" if section.pipeline_root else "workspace"
    if told is None:
        raise ConfigError("workspace: is not set; in a cluster it has to lie on a volume", DOCS)
    root = str(told)
    if is_object_store(root) and section.pipeline_root:
        _check_bucket(project, raw, root)
        return root
    if "://" in root or "${env:" in root:
        raise ConfigError(
            f"{key} {root}: must be a folder on a volume that all pods mount, written out",
            f"a bucket is kubeflow.pipeline_root: gs://bucket/folder; {DOCS}",
        )
    root = posixpath.normpath(posixpath.join(section.project, root))
    if not _is_mounted(root, section):
        mounts = ", ".join(volume.path for volume in section.volumes)
        raise ConfigError(
            f"{key} {root}: lies on no volume, so no pod would see what another wrote; "
            f"kubeflow.volumes mounts {mounts or 'none'}",
            "add a volume that many pods can write (ReadWriteMany), move it, or set "
            f"kubeflow.pipeline_root: gs://bucket/folder; {DOCS}",
        )
    return root


def _check_bucket(project: Project, raw: Mapping[str, Any], root: str) -> None:
    """Refuses what pods that share nothing but a bucket cannot have.

    Raises:
        ConfigError: Names the setting to change.
    """
    push = raw.get("push")
    directory = str((push.get("directory") if isinstance(push, Mapping) else None) or "")
    check_bucket(root, str(raw.get("metadata") or ""), directory, project.beam_args)
    section = project.kubeflow
    if is_object_store(directory) or "${env:" in directory:
        return
    path = posixpath.normpath(posixpath.join(section.project, directory))
    if not _is_mounted(path, section):
        raise ConfigError(
            f"push.directory {path}: lies on no volume, and with kubeflow.pipeline_root {root} a "
            "version that is published there would be gone with its pod",
            f"push.directory: gs://bucket/folder, or a folder on one of kubeflow.volumes; {DOCS}",
        )


def _is_mounted(path: str, section: Kubeflow) -> bool:
    mounts = [volume.path for volume in section.volumes]
    return any(path == mount or path.startswith(f"{mount}/") for mount in mounts)


def _notes(project: Project, told: Mapping[str, Any]) -> tuple[str, ...]:
    """What compiles and may still not run as expected."""
    section = project.kubeflow
    given = {*section.env, *(secret.env for secret in section.secrets if secret.env)}
    asked = sorted(_variables(told) - given)
    notes = []
    if asked:
        notes.append(
            f"the configuration refers to {', '.join(asked)}; neither kubeflow.env nor "
            "kubeflow.secrets gives that to the pods"
        )
    if "://" not in str(told.get("metadata", "")):
        notes.append(
            "metadata is a SQLite file on a volume; tasks that run at the same time wait for each "
            f"other, and NFS may corrupt it: use postgresql://user@host:{POSTGRES_PORT}/database"
        )
    return tuple(notes)


def _variables(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        return {name for below in value.values() for name in _variables(below)}
    if isinstance(value, (list, tuple)):
        return {name for below in value for name in _variables(below)}
    return set(_REFERENCE.findall(value)) if isinstance(value, str) else set()
