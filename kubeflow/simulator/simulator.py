"""Runs a compiled pipeline on this machine: a process per task, no Docker, no Kubernetes.

A task starts when those it needs succeeded and there is room; a failed task fails the run, and what
does not need it goes on. `ordain.kubeflow.simulator.attempts` holds what happens to one task.
"""

from __future__ import annotations

import datetime
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ordain.errors import ConfigError
from ordain.kubeflow.simulator.attempts import Surroundings, Tries, describe_input_error
from ordain.kubeflow.simulator.fault_injection import Injection
from ordain.kubeflow.simulator.inputs import InputError, Outputs, RunNames, run_parameters
from ordain.kubeflow.simulator.job import Job, Task
from ordain.kubeflow.simulator.pod import measure_artifacts
from ordain.kubeflow.simulator.report import (
    CANCELED,
    FAILED,
    NOT_STARTED,
    REPORT,
    SUCCEEDED,
    AttemptResult,
    Report,
    TaskResult,
    write_report,
)
from ordain.kubeflow.simulator.secret_values import SHORTEST_MASKED, Masker, Vault

#: Seconds between two looks at the processes.
_LOOK_S = 0.05


class Listener(Protocol):
    """Hears what happens."""

    def started(self, task: Task, number: int) -> None:
        """An attempt begins."""

    def ended(self, task: Task, result: AttemptResult, wait_s: float | None) -> None:
        """An attempt is over; another one follows after so many seconds, or none."""

    def decided(self, result: TaskResult) -> None:
        """A task is over."""


@dataclass(frozen=True)
class Options:
    """How a pipeline is simulated.

    Attributes:
        root: The folder that the simulation's own folder is made in.
        parameters: Parameter of the run -> text.
        secrets: `NAME.KEY` -> value.
        config_maps: `NAME.KEY` -> value.
        injections: Failures on purpose.
        parallel: How many tasks run at once at most.
        grace_s: Seconds between SIGTERM and SIGKILL; 30 is Kubernetes' own.
        has_backoff: Whether it waits before a further attempt, as the file says.
    """

    root: Path
    parameters: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    config_maps: Mapping[str, str] = field(default_factory=dict)
    injections: tuple[Injection, ...] = ()
    parallel: int = 2
    grace_s: float = 30.0
    has_backoff: bool = True


class Simulation:
    """A pipeline that is being run.

    Args:
        job: The pipeline.
        file: The file it was read from, for the report.
        options: How to run it.
        listener: Hears what happens.

    Raises:
        ConfigError: A parameter, a secret or a folder that the file asks for is missing.
    """

    def __init__(self, job: Job, file: Path, options: Options, listener: Listener) -> None:
        self._job, self._file, self._options, self._listener = job, file, options, listener
        run = run_parameters(job, options.parameters)
        secrets = Vault("secret", "--secret", options.secrets)
        config_maps = Vault("config map", "--config-map", options.config_maps)
        secrets.check(job, run)
        config_maps.check(job, run)
        check_mounts(job)
        self.run_id = str(uuid.uuid4())
        self.folder = options.root.resolve() / self.run_id[:8]
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        name = f"{job.name}-{self.run_id[:5]}"
        self._shared = Surroundings(
            self.folder,
            run,
            RunNames(name, name, self.run_id, "", "1", now, now),
            secrets,
            config_maps,
            Masker(secrets.values()),
            options.grace_s,
            options.has_backoff,
            time.monotonic(),
        )
        self._tries = {
            task.name: Tries(
                task, self._shared, tuple(i for i in options.injections if i.task == task.name)
            )
            for task in job.tasks
        }
        self._results = {
            task.name: TaskResult(
                task.name, task.title, image=task.image, resources=dict(task.resources)
            )
            for task in job.tasks
        }
        self._done: dict[str, Outputs] = {}
        self._decided: set[str] = set()
        self._wake = threading.Event()
        self._signal = 0
        self._signals = 0

    def stop(self, number: int) -> None:
        """Asks it to end: SIGTERM to all tasks, at the second call SIGKILL.

        Args:
            number: The signal that asks for it; the exit code tells.
        """
        self._signal = self._signal or number
        self._signals += 1
        self._wake.set()

    def run(self) -> Report:
        """Runs it to its end, writes the report, and leaves no process behind."""
        self.folder.mkdir(parents=True)
        try:
            while not self._signal and len(self._decided) < len(self._job.tasks):
                self._look()
                self._start()
                if len(self._decided) < len(self._job.tasks):
                    self._wake.wait(_LOOK_S)
            if self._signal:
                self._cancel()
        finally:
            for tries in self._tries.values():
                if tries.is_running:
                    tries.cancel()
        report = self._report()
        write_report(report, self.folder / REPORT)
        return report

    def _look(self) -> None:
        for name, tries in self._tries.items():
            result = tries.look() if tries.is_running else None
            if result is not None:
                self._ended(name, tries, result)

    def _ended(self, name: str, tries: Tries, result: AttemptResult) -> None:
        wait_s = None
        if tries.due is not None:
            wait_s = max(0.0, tries.due - time.monotonic())
        self._listener.ended(tries.task, result, wait_s)
        if wait_s is not None:
            return
        if result.state == SUCCEEDED:
            self._done[name] = tries.outputs
            self._decide(name, SUCCEEDED, "")
            return
        count = len(tries.results)
        again = f" after {count} attempts" if count > 1 else ""
        self._decide(name, FAILED, f"{result.reason}{again}")

    def _start(self) -> None:
        """Starts what may start, in the order of the file."""
        for name, tries in self._tries.items():
            if name in self._decided or tries.is_running:
                continue
            if not self._is_ready(name, tries):
                continue
            if sum(other.is_running for other in self._tries.values()) >= self._options.parallel:
                return
            try:
                tries.start(self._done)
            except InputError as error:
                self._decide(name, FAILED, describe_input_error(error))
                continue
            self._listener.started(tries.task, tries.number)

    def _is_ready(self, name: str, tries: Tries) -> bool:
        """Whether a task can start now; decides those that never will."""
        if tries.due is not None:
            return time.monotonic() >= tries.due
        needs = tries.task.needs
        if not tries.task.is_always_run:
            for need in needs:
                if need in self._decided and self._results[need].state != SUCCEEDED:
                    self._decide(name, NOT_STARTED, f"it needs {need}, which did not succeed")
                    return False
        return all(need in self._decided for need in needs)

    def _decide(self, name: str, state: str, reason: str) -> None:
        tries, task = self._tries[name], self._results[name]
        task.state, task.reason = state, self._shared.masker.mask(reason)
        task.attempts = list(tries.results)
        if state == SUCCEEDED:
            left = self._done[name]
            task.parameters = self._shared.masker.mask_value(left.parameters)
            artifacts = measure_artifacts(left.artifacts)
            task.artifacts = self._shared.masker.mask_value(artifacts)
        self._decided.add(name)
        self._listener.decided(task)

    def _cancel(self) -> None:
        """SIGTERM to all that runs, and SIGKILL after the grace time or a second signal."""
        running = {name: t for name, t in self._tries.items() if t.is_running}
        for tries in running.values():
            tries.terminate(self._options.grace_s)
        before = self._signals
        while running and self._signals == before:
            for name, tries in list(running.items()):
                if not tries.is_running or tries.look() is not None:
                    del running[name]
            time.sleep(_LOOK_S)
        for tries in running.values():
            tries.cancel()
        for name, tries in self._tries.items():
            if name not in self._decided:
                reason = "the simulation was ended" if tries.results else "the simulation had ended"
                self._decide(name, CANCELED if tries.results else NOT_STARTED, reason)

    def _report(self) -> Report:
        tasks = list(self._results.values())
        state = SUCCEEDED if all(task.state == SUCCEEDED for task in tasks) else FAILED
        notes = [*self._job.notes]
        for one in self._options.injections:
            if one not in self._tries[one.task].met:
                notes.append(f"--inject {one.text} met nothing: no such moment came")
        if any(len(value) < SHORTEST_MASKED for value in self._options.secrets.values()):
            notes.append(
                f"secrets of fewer than {SHORTEST_MASKED} characters are not masked in logs"
            )
        return Report(
            file=str(self._file),
            pipeline=self._job.name,
            run_id=self.run_id,
            folder=str(self.folder),
            state=CANCELED if self._signal else state,
            started=self._shared.names.created,
            seconds=round(time.monotonic() - self._shared.began, 3),
            parallel=self._options.parallel,
            parameters=self._shared.masker.mask_value(dict(self._shared.run)),
            tasks=tasks,
            notes=notes,
            signal=self._signal,
        )


def check_mounts(job: Job) -> None:
    """Checks that what a cluster would mount is here under the same path.

    Raises:
        ConfigError: A folder is missing.
    """
    for task in job.tasks:
        for path, kind in task.mounts:
            if not Path(path).is_dir():
                raise ConfigError(
                    f"task {task.name} has a {kind} at {path}, which is no folder of this machine",
                    f"mkdir -p {path}, or link it to the folder that stands for the volume",
                )
