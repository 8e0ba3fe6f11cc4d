"""Compiled KFP pipelines for tests, written with the KFP SDK from shell commands.

The SDK reads annotations as objects: no `from __future__ import annotations` here.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfp import compiler, dsl

from ordain.kubeflow.simulator.attempts import Options
from ordain.kubeflow.simulator.fault_injection import read_injections
from ordain.kubeflow.simulator.job import Task
from ordain.kubeflow.simulator.parser import read_job
from ordain.kubeflow.simulator.report import AttemptResult, Report, TaskResult
from ordain.kubeflow.simulator.simulator import Simulation


@dsl.container_component
def shell(script: str):
    return dsl.ContainerSpec(image="busybox", command=["sh", "-c"], args=[script])


@dsl.container_component
def say(script: str, said: dsl.OutputPath(str)):
    """A script that writes its output parameter to "$0"."""
    return dsl.ContainerSpec(image="busybox", command=["sh", "-c"], args=[script, said])


@dsl.container_component
def tell(script: str, word: str):
    """A script that has a word as "$0"."""
    return dsl.ContainerSpec(image="busybox", command=["sh", "-c"], args=[script, word])


@dsl.container_component
def keep(script: str, kept: dsl.Output[dsl.Dataset]):
    """A script that writes its artifact to "$0"."""
    return dsl.ContainerSpec(image="busybox", command=["sh", "-c"], args=[script, kept.path])


@dsl.container_component
def take(script: str, kept: dsl.Input[dsl.Dataset], page: dsl.Output[dsl.HTML]):
    """A script that reads the artifact "$0" and writes the artifact "$1"."""
    return dsl.ContainerSpec(image="x", command=["sh", "-c"], args=[script, kept.path, page.path])


def compile_to(folder: Path, build: Callable[..., Any]) -> Path:
    """Compiles what a function builds; the pipeline has the function's parameters."""
    file = folder / "pipeline.yaml"

    # The SDK takes what a function returns for the pipeline's outputs.
    def body(*arguments: Any, **keywords: Any):
        build(*arguments, **keywords)

    is_component = not inspect.isfunction(build)
    body.__signature__ = inspect.Signature() if is_component else inspect.signature(build)
    compiler.Compiler().compile(dsl.pipeline(name="made-for-a-test")(body), str(file))
    return file


class Heard:
    """A listener that remembers, in the order of events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.waits: list[float | None] = []

    def started(self, task: Task, number: int) -> None:
        self.events.append(("started", task.name))

    def ended(self, task: Task, result: AttemptResult, wait_s: float | None) -> None:
        self.events.append((result.state, task.name))
        self.waits.append(wait_s)

    def decided(self, result: TaskResult) -> None:
        self.events.append(("decided", result.name))


def simulate(
    file: Path, heard: Heard | None = None, inject: tuple[str, ...] = (), **options: Any
) -> Report:
    """Runs a compiled file below its own folder."""
    job = read_job(file)
    chosen = Options(root=file.parent / "root", injections=read_injections(inject, job), **options)
    return Simulation(job, file, chosen, heard or Heard()).run()


def states(report: Report) -> dict[str, str]:
    return {task.name: task.state for task in report.tasks}


def task_of(report: Report, name: str) -> TaskResult:
    return next(task for task in report.tasks if task.name == name)


def log_of(report: Report, name: str, attempt: int = -1) -> str:
    """What an attempt printed; the last one unless told otherwise."""
    return Path(task_of(report, name).attempts[attempt].log).read_text()
