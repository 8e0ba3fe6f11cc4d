"""Collects, once and checked, everything that a compiled file is made from.

Only the project's files are read: no cluster, no bucket, no network, no environment variable.
"""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordain.config.kubeflow import Kubeflow
from ordain.config.loading import load_unresolved
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.kubeflow.pipeline_root import check_bucket
from ordain.kubeflow.task_contract import ON_EXIT, PREPARE, RESULT, task_name
from ordain.pipeline.topology import Topology, topology_of
from ordain.project.source import image_fingerprint
from ordain.storage.gcs import is_object_store

DOCS = "see docs/kubeflow-compile.md"


@dataclass(frozen=True)
class CompilePlan:
    """The inputs of a compiled file.

    Attributes:
        project: The project, references unresolved.
        env: Name of the overlay in it.
        config: The effective configuration without `kubeflow`, which pods do not need.
        source: Fingerprint of source and schema.
        topology: Node id -> the nodes that it waits for.
        images: The image of each task.
        pipeline_root: Default of the run parameter `pipeline_root`.
    """

    project: Project
    env: str | None
    config: Mapping[str, Any]
    source: str
    topology: Topology
    images: Mapping[str, str]
    pipeline_root: str


def make_plan(
    folder: str | Path, env: str | None = None, settings: Iterable[str] = ()
) -> CompilePlan:
    """Reads a project for compiling.

    Args:
        folder: The project's folder.
        env: Name of an overlay.
        settings: `a.b=value` texts, which become part of the file.

    Raises:
        ConfigError: The configuration is wrong or cannot run in a cluster.
    """
    project = load_unresolved(folder, env, settings)
    raw = project.effective
    topology = topology_of(project)
    return CompilePlan(
        project=project,
        env=env,
        config={key: value for key, value in raw.items() if key != "kubeflow"},
        source=image_fingerprint(project.folder, project.schema_file),
        topology=topology,
        images=task_images(project.kubeflow, topology),
        pipeline_root=_pipeline_root(project, raw),
    )


def task_images(section: Kubeflow, topology: Topology) -> dict[str, str]:
    """The image of each task.

    Raises:
        ConfigError: A task has none, the section names an unknown node, or two nodes would have
            the same task name.
    """
    names = [PREPARE, *topology, RESULT]
    for node in section.nodes:
        if node not in names:
            near = difflib.get_close_matches(node, names, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names)}"
            raise ConfigError(f"kubeflow.nodes.{node}: the pipeline has no such node{meant}", DOCS)
    tasks = [task_name(name) for name in (*names, ON_EXIT)]
    twice = sorted({name for name in names if tasks.count(task_name(name)) > 1})
    if twice:
        task = task_name(twice[0])
        ours = (PREPARE, RESULT, ON_EXIT)
        why = f"{', '.join(ours)} are ordain's own tasks" if task in ours else "a task has one node"
        raise ConfigError(
            f"nodes {', '.join(dict.fromkeys(twice))}: would be the task {task}; {why}",
            "give the node another id, in nodes",
        )
    images = {name: section.pod(name).image or section.image for name in names}
    for name, image in images.items():
        if image is None:
            raise ConfigError(
                f"kubeflow.image: is not set, and {name} has no own image",
                f"`make image` builds one; {DOCS}",
            )
    return {name: str(image) for name, image in images.items()}


def _pipeline_root(project: Project, raw: Mapping[str, Any]) -> str:
    """The folder that all pods share: the workspace as they see it, or `gs://bucket/folder`.

    Raises:
        ConfigError: It is not on a volume that all pods mount, or other keys do not fit a bucket.
    """
    section = project.kubeflow
    configured = section.pipeline_root or raw.get("workspace")
    key = "kubeflow.pipeline_root" if section.pipeline_root else "workspace"
    if configured is None:
        raise ConfigError("workspace: is not set; in a cluster it has to lie on a volume", DOCS)
    root = str(configured)
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
    """Refuses settings that do not work for pods that share only a bucket.

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
            "version that is published there would be lost with its pod",
            f"push.directory: gs://bucket/folder, or a folder on one of kubeflow.volumes; {DOCS}",
        )


def _is_mounted(path: str, section: Kubeflow) -> bool:
    mounts = [volume.path for volume in section.volumes]
    return any(path == mount or path.startswith(f"{mount}/") for mount in mounts)
