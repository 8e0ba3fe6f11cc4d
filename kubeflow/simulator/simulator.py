"""Runs a compiled pipeline on this machine: one process per task, no Docker, no Kubernetes.

A task starts when its upstream tasks have succeeded and a slot is free. A failed task fails the
run; tasks that do not depend on it still run. `ordain.kubeflow.simulator.attempts` runs one task.
"""

from __future__ import annotations

import datetime
import threading
import time
import uuid
from pathlib import Path
from typing import Protocol

from ordain.errors import ConfigError
from ordain.kubeflow.placeholders import RUN_PLACEHOLDERS
from ordain.kubeflow.simulator.attempts import Options, RunContext, TaskAttempts
from ordain.kubeflow.simulator.inputs import InputError, Outputs, run_parameters
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
from ordain.kubeflow.simulator.secret_values import SHORTEST_MASKED, Masker, SecretValues

#: Seconds between two checks of the processes.
_CHECK_S = 0.05


class Listener(Protocol):
    """Receives the events of a simulation."""

    def started(self, task: Task, number: int) -> None:
        """An attempt has started."""

    def ended(self, task: Task, result: AttemptResult, wait_s: float | None) -> None:
        """An attempt has ended; the next starts after `wait_s` seconds, or none if it is None."""

    def decided(self, result: TaskResult) -> None:
        """A task has reached its final state."""


class Simulation:
    """One simulated run of a pipeline.

    Args:
        job: The pipeline.
        file: The compiled file, for the report.
        options: The options.
        listener: Receives the events.

    Raises:
        ConfigError: A parameter, a secret or a folder that the file asks for is missing.
    """

    def __init__(self, job: Job, file: Path, options: Options, listener: Listener) -> None:
        self._job, self._file, self._options, self._listener = job, file, options, listener
        run = run_parameters(job, options.parameters)
        secrets = SecretValues("secret", "--secret", options.secrets)
        config_maps = SecretValues("config map", "--config-map", options.config_maps)
        secrets.check(job, run)
        config_maps.check(job, run)
        check_mounts(job)
        self.run_id = str(uuid.uuid4())
        self.folder = options.root.resolve() / self.run_id[:8]
        self._started = now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        name = f"{job.name}-{self.run_id[:5]}"
        # The id of a task is that of its parent, as in KFP.
        names = (name, name, self.run_id, "", "1", now, now)
        self._context = RunContext(
            self.run_id,
            self.folder,
            options,
            run,
            dict(zip(RUN_PLACEHOLDERS, names, strict=True)),
            secrets,
            config_maps,
            Masker(secrets.values()),
            time.monotonic(),
        )
        self._attempts = {
            task.name: TaskAttempts(
                task, self._context, tuple(i for i in options.injections if i.task == task.name)
            )
            for task in job.tasks
        }
        self._results = {
            task.name: TaskResult(
                task.name, task.title, image=task.container.image, resources=task.resources
            )
            for task in job.tasks
        }
        self._done: dict[str, Outputs] = {}
        self._decided: set[str] = set()
        self._wake = threading.Event()
        self._signal = 0
        self._signals = 0

    def stop(self, number: int) -> None:
        """Stops the simulation: SIGTERM to all tasks, SIGKILL at the second call.

        Args:
            number: The signal that was received; it determines the exit code.
        """
        self._signal = self._signal or number
        self._signals += 1
        self._wake.set()

    def run(self) -> Report:
        """Runs to the end, writes the report and leaves no process behind."""
        self.folder.mkdir(parents=True)
        try:
            while not self._signal and len(self._decided) < len(self._job.tasks):
                self._check_running()
                self._start()
                if len(self._decided) < len(self._job.tasks):
                    self._wake.wait(_CHECK_S)
            if self._signal:
                self._cancel()
        finally:
            for attempts in self._attempts.values():
                if attempts.is_running:
                    attempts.cancel()
        report = self._report()
        write_report(report, self.folder / REPORT)
        return report

    def _check_running(self) -> None:
        for name, attempts in self._attempts.items():
            result = attempts.check() if attempts.is_running else None
            if result is not None:
                self._ended(name, attempts, result)

    def _ended(self, name: str, attempts: TaskAttempts, result: AttemptResult) -> None:
        wait_s = None
        if attempts.due is not None:
            wait_s = max(0.0, attempts.due - time.monotonic())
        self._listener.ended(attempts.task, result, wait_s)
        if wait_s is not None:
            return
        if result.state == SUCCEEDED:
            self._done[name] = attempts.outputs
            self._decide(name, SUCCEEDED, "")
            return
        count = len(attempts.results)
        again = f" after {count} attempts" if count > 1 else ""
        self._decide(name, FAILED, f"{result.reason}{again}")

    def _start(self) -> None:
        """Starts tasks that are ready, in the order of the file."""
        for name, attempts in self._attempts.items():
            if name in self._decided or attempts.is_running:
                continue
            if not self._is_ready(name, attempts):
                continue
            if sum(other.is_running for other in self._attempts.values()) >= self._options.parallel:
                return
            try:
                attempts.start(self._done)
            except InputError as error:
                self._decide(name, FAILED, f"{error}; in a cluster the task's driver fails")
                continue
            self._listener.started(attempts.task, attempts.number)

    def _is_ready(self, name: str, attempts: TaskAttempts) -> bool:
        """Returns true if a task can start now; decides tasks that never can."""
        if attempts.due is not None:
            return time.monotonic() >= attempts.due
        needs = attempts.task.needs
        if not attempts.task.is_always_run:
            for need in needs:
                if need in self._decided and self._results[need].state != SUCCEEDED:
                    self._decide(name, NOT_STARTED, f"upstream task {need} did not succeed")
                    return False
        return all(need in self._decided for need in needs)

    def _decide(self, name: str, state: str, reason: str) -> None:
        attempts, task = self._attempts[name], self._results[name]
        task.state, task.reason = state, self._context.masker.mask(reason)
        task.attempts = list(attempts.results)
        if state == SUCCEEDED:
            left = self._done[name]
            task.parameters = self._context.masker.mask_value(left.parameters)
            artifacts = measure_artifacts(left.artifacts)
            task.artifacts = self._context.masker.mask_value(artifacts)
        self._decided.add(name)
        self._listener.decided(task)

    def _cancel(self) -> None:
        """Sends SIGTERM to running tasks, then SIGKILL after the grace time or a second signal."""
        running = {name: t for name, t in self._attempts.items() if t.is_running}
        for attempts in running.values():
            attempts.terminate()
        before = self._signals
        while running and self._signals == before:
            for name, attempts in list(running.items()):
                if not attempts.is_running or attempts.check() is not None:
                    del running[name]
            time.sleep(_CHECK_S)
        for attempts in running.values():
            attempts.cancel()
        for name, attempts in self._attempts.items():
            if name not in self._decided:
                reason = "the simulation was stopped"
                self._decide(name, CANCELED if attempts.results else NOT_STARTED, reason)

    def _report(self) -> Report:
        tasks = list(self._results.values())
        state = SUCCEEDED if all(task.state == SUCCEEDED for task in tasks) else FAILED
        notes = [*self._job.notes]
        for one in self._options.injections:
            if one not in self._attempts[one.task].met:
                notes.append(f"--inject {one.text} was not triggered")
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
            started=self._started,
            seconds=round(time.monotonic() - self._context.began, 3),
            parallel=self._options.parallel,
            parameters=self._context.masker.mask_value(dict(self._context.run)),
            tasks=tasks,
            notes=notes,
            signal=self._signal,
        )


def check_mounts(job: Job) -> None:
    """Checks that every mounted path exists as a folder of this machine.

    Raises:
        ConfigError: A folder is missing.
    """
    for task in job.tasks:
        for path, kind in task.mounts:
            if not Path(path).is_dir():
                raise ConfigError(
                    f"task {task.name} has a {kind} at {path}, which is not a folder here",
                    f"mkdir -p {path}, or link it to the folder that replaces the volume",
                )
