"""Compiles a project to the file that Kubeflow Pipelines 2.x runs: PipelineSpec and PlatformSpec.

One container task per node, between `prepare` and `result`, and `on-exit` after all of them,
whether they succeeded or failed. The same project gives the same bytes.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordain.kubeflow.compiler.plan import CompilePlan, make_plan
from ordain.kubeflow.validation.validate import check
from ordain.metadata.location import POSTGRES_PORT

_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Compiled:
    """A compiled project.

    Attributes:
        name: The pipeline's name.
        text: The file: two YAML documents.
        tasks: Number of tasks.
        notes: Warnings for the user, one sentence each.
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
    return compile_plan(make_plan(folder, env, settings))


def compile_plan(plan: CompilePlan) -> Compiled:
    """Compiles a plan and checks the result.

    Raises:
        ConfigError: The file breaks a rule of the backend.
    """
    with warnings.catch_warnings():
        # KFP warns of its own deprecations, on which a user cannot act.
        warnings.simplefilter("ignore")
        from ordain.kubeflow.compiler.components import build_pipeline  # noqa: PLC0415  KFP takes a second

        text = _write(build_pipeline(plan))
    check(text)
    # `prepare`, `result` and `on-exit` are no nodes.
    return Compiled(plan.project.name, text, len(plan.topology) + 3, _notes(plan))


def _write(pipeline: Any) -> str:
    from kfp import compiler  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        return path.read_text(encoding="utf-8")


def _notes(plan: CompilePlan) -> tuple[str, ...]:
    """Settings that compile but may fail or slow down the run."""
    section = plan.project.kubeflow
    given = {*section.env, *(secret.env for secret in section.secrets if secret.env)}
    missing = sorted(_variables(plan.config) - given)
    notes = []
    if missing:
        notes.append(
            f"the configuration refers to {', '.join(missing)}; neither kubeflow.env nor "
            "kubeflow.secrets gives that to the pods"
        )
    if "://" not in str(plan.config.get("metadata", "")):
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
