"""Runs the attempts of one task: start, injected failures, time limit, end, retry decision.

Retries follow Argo. KFP writes Argo's retry strategy without a policy, which means `OnFailure`: a
failed container is retried; a pod that was deleted or lost with its node is an error and is not.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ordain.kubeflow.placeholders import TASK_NAME
from ordain.kubeflow.simulator.fault_injection import Injection
from ordain.kubeflow.simulator.inputs import (
    OutputError,
    Outputs,
    read_outputs,
    resolve_inputs,
)
from ordain.kubeflow.simulator.job import Retry, Task
from ordain.kubeflow.simulator.pod import Pod, make_pod, task_environment
from ordain.kubeflow.simulator.process import Attempt
from ordain.kubeflow.simulator.report import (
    CANCELED,
    FAILED,
    LOST,
    SUCCEEDED,
    TIMED_OUT,
    AttemptResult,
)
from ordain.kubeflow.simulator.secret_values import Masker, SecretValues


@dataclass(frozen=True)
class Options:
    """Options of a simulation.

    Attributes:
        root: The folder in which the simulation's own folder is created.
        parameters: Run parameter -> text.
        secrets: `NAME.KEY` -> value.
        config_maps: `NAME.KEY` -> value.
        injections: Injected failures.
        parallel: Maximum number of tasks that run at once.
        grace_s: Seconds between SIGTERM and SIGKILL; Kubernetes uses 30.
        has_backoff: Whether to wait before a retry, as the file says.
    """

    root: Path
    parameters: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    config_maps: Mapping[str, str] = field(default_factory=dict)
    injections: tuple[Injection, ...] = ()
    parallel: int = 2
    grace_s: float = 30.0
    has_backoff: bool = True


@dataclass(frozen=True)
class RunContext:
    """State shared by all tasks of a simulation.

    Attributes:
        run_id: The run's id.
        folder: The simulation's folder.
        options: The options.
        run: The run's parameters.
        names: Placeholder of the run -> value; the task's name is filled in per task.
        secrets: Secrets' values.
        config_maps: Config maps' values.
        masker: Masks secrets.
        began: Start of the simulation on the monotonic clock.
    """

    run_id: str
    folder: Path
    options: Options
    run: Mapping[str, Any]
    names: Mapping[str, str]
    secrets: SecretValues
    config_maps: SecretValues
    masker: Masker
    began: float


def next_wait_s(retry: Retry, ended: int, state: str, since_first_s: float) -> float | None:
    """Seconds to wait before the next attempt; None if there is none.

    A pure function that follows `processNodeRetries` in Argo's `workflow/controller/operator.go`.
    There is no retry

    1. after an attempt that was lost, succeeded or was canceled,
    2. after `count` retries,
    3. if the wait would end later than `max_s` after the first attempt's start.

    Args:
        retry: The policy.
        ended: Number of attempts that have ended, at least 1.
        state: State of the last one.
        since_first_s: Seconds since the first one started.
    """
    if state not in (FAILED, TIMED_OUT) or ended > retry.count:
        return None
    wait_s = retry.wait_s(ended)
    if retry.max_s is not None and since_first_s + wait_s > retry.max_s:
        return None
    return wait_s


class TaskAttempts:
    """The attempts of one task, run one after the other.

    Args:
        task: The task.
        context: State shared by all tasks.
        injections: Failures to inject.
    """

    def __init__(self, task: Task, context: RunContext, injections: tuple[Injection, ...]) -> None:
        self.task = task
        self.results: list[AttemptResult] = []
        self.outputs = Outputs()
        #: Injected failures that were triggered.
        self.met: set[Injection] = set()
        #: When the next attempt is due, on the monotonic clock; None if none is.
        self.due: float | None = None
        self._context = context
        self._injections = injections
        self._attempt: Attempt | None = None
        self._pod: Pod | None = None
        self._first = 0.0
        self._waited_s = 0.0
        self._injected: Injection | None = None
        self._killed_at: float | None = None
        self._is_late = False

    @property
    def number(self) -> int:
        """Number of the running or the next attempt."""
        return len(self.results) + 1

    @property
    def is_running(self) -> bool:
        """True while an attempt runs."""
        return self._attempt is not None

    def start(self, done: Mapping[str, Outputs]) -> None:
        """Starts the next attempt.

        Args:
            done: Outputs of the tasks that succeeded.

        Raises:
            InputError: An input is missing or invalid.
        """
        context, task = self._context, self.task
        self.due = None
        self._injected, self._killed_at, self._is_late = None, None, False
        names = {**context.names, TASK_NAME: task.title}
        inputs = resolve_inputs(task, context.run, done, names)
        name = f"{context.run_id}-{task.name}-{self.number}"
        environment = task_environment(
            task, name, context.run, inputs.parameters, context.secrets, context.config_maps
        )
        folder = context.folder / task.name / str(self.number)
        self._pod = make_pod(task, name, folder, inputs, environment)
        if self.number == 1:
            self._first = time.monotonic()
        watched = [one.line for one in self._pending() if one.line]
        self._attempt = Attempt(self._pod, context.masker, watched)

    def check(self) -> AttemptResult | None:
        """Applies injections and limits; returns the result once the attempt has ended."""
        assert self._attempt is not None  # noqa: S101  only called while one runs
        code = self._attempt.poll()
        if code is not None:
            return self._end(code)
        self._inject()
        limit = self.task.timeout_s
        if limit is not None and self._attempt.seconds > limit and self._killed_at is None:
            self._is_late = True
            self.terminate()
        if self._killed_at is not None and time.monotonic() >= self._killed_at:
            self._attempt.kill()
        code = self._attempt.poll()
        return None if code is None else self._end(code)

    def terminate(self) -> None:
        """Sends SIGTERM, and SIGKILL after the grace time."""
        if self._attempt is not None:
            self._attempt.send(signal.SIGTERM)
            self._killed_at = time.monotonic() + self._context.options.grace_s

    def cancel(self) -> AttemptResult:
        """Ends the running attempt at once."""
        assert self._attempt is not None  # noqa: S101  only called while one runs
        code = self._attempt.poll()
        if code is None:
            self._attempt.kill()
        code = self._attempt.poll()
        return self._end(137 if code is None else code, is_canceled=True)

    def _pending(self) -> list[Injection]:
        return [i for i in self._injections if i.attempt == self.number and i not in self.met]

    def _inject(self) -> None:
        """Triggers the injected failures that are due."""
        assert self._attempt is not None  # noqa: S101  only called while one runs
        for one in self._pending():
            is_due = (
                self._attempt.has_printed(one.line)
                if one.line
                else self._attempt.seconds >= one.after_s
            )
            if not is_due:
                continue
            self.met.add(one)
            self._injected = one
            if one.kind == "term":
                self.terminate()
            else:
                self._attempt.kill()

    def _end(self, code: int, is_canceled: bool = False) -> AttemptResult:
        """Builds the result of an ended attempt and schedules the next one."""
        attempt, pod, context = self._attempt, self._pod, self._context
        assert attempt is not None and pod is not None  # noqa: S101  one has just ended
        state, reason = self._classify(code, is_canceled)
        if state == SUCCEEDED:
            try:
                self.outputs = read_outputs(self.task, pod.files, pod.written, pod.metadata)
            except OutputError as error:
                # The launcher exits with 1 if an output is missing.
                state, reason, code = FAILED, str(error), 1
        result = AttemptResult(
            number=self.number,
            state=state,
            exit_code=None if state == LOST else code,
            reason=context.masker.mask(reason),
            started_s=round(attempt.began - context.began, 3),
            seconds=round(attempt.seconds, 3),
            waited_s=round(self._waited_s, 3),
            command=[context.masker.mask(word) for word in pod.command],
            log=str(pod.log),
            injected=self._injected.text if self._injected is not None else "",
        )
        pod.remove()
        self._attempt = self._pod = None
        self.results.append(result)
        self._waited_s = 0.0
        since_first_s = time.monotonic() - self._first
        wait_s = next_wait_s(self.task.retry, len(self.results), state, since_first_s)
        if wait_s is not None:
            self._waited_s = wait_s if context.options.has_backoff else 0.0
            self.due = time.monotonic() + self._waited_s
        return result

    def _classify(self, code: int, is_canceled: bool) -> tuple[str, str]:
        """State and reason of an ended attempt."""
        if is_canceled:
            return CANCELED, "the simulation was stopped"
        if self._injected is not None and self._injected.kind == "lose":
            return LOST, "its pod was lost with its node; KFP's retry policy does not cover that"
        if self._is_late:
            return TIMED_OUT, f"timed out after {self.task.timeout_s:g} s"
        if code == 0:
            return SUCCEEDED, ""
        if code > 128 and code - 128 in set(signal.Signals):
            return FAILED, f"ended by {signal.Signals(code - 128).name}"
        return FAILED, f"exit code {code}"
