"""One task's attempts: start, failures on purpose, time limit, end, and whether to try again.

The decision is Argo's, whose retry strategy KFP writes without a policy, which means `OnFailure`:
a container that failed is tried again, a pod that was deleted or lost with its node is an error
and is not.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ordain.kubeflow.simulator.fault_injection import Injection
from ordain.kubeflow.simulator.inputs import (
    InputError,
    OutputError,
    Outputs,
    RunNames,
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
from ordain.kubeflow.simulator.secret_values import Masker, Vault


@dataclass(frozen=True)
class Surroundings:
    """What all tasks of a simulation share.

    Attributes:
        folder: The simulation's folder.
        run: The run's parameters.
        names: What the run's placeholders stand for; the task's name is put in for each.
        secrets: Secrets' values.
        config_maps: Config maps' values.
        masker: Masks secrets.
        grace_s: Seconds between SIGTERM and SIGKILL.
        has_backoff: Whether it waits before a further attempt.
        began: When the simulation began, on the monotonic clock.
    """

    folder: Path
    run: Mapping[str, Any]
    names: RunNames
    secrets: Vault
    config_maps: Vault
    masker: Masker
    grace_s: float
    has_backoff: bool
    began: float


def next_wait_s(retry: Retry, ended: int, state: str, since_first_s: float) -> float | None:
    """Seconds to wait before the next attempt; None if there is none.

    A pure function of the policy and of what happened, as `processNodeRetries` in Argo's
    `workflow/controller/operator.go`:

    1. A lost pod is not tried again, nor is what succeeded or was canceled.
    2. Not after `count` further attempts.
    3. Not if the wait would end later than `max_s` after the first attempt's start.

    Args:
        retry: The policy.
        ended: How many attempts have ended, at least 1.
        state: How the last of them ended.
        since_first_s: Seconds since the first one started.
    """
    if state not in (FAILED, TIMED_OUT) or ended > retry.count:
        return None
    wait_s = retry.wait_s(ended)
    if retry.max_s is not None and since_first_s + wait_s > retry.max_s:
        return None
    return wait_s


class Tries:
    """The attempts of one task, one after the other.

    Args:
        task: The task.
        shared: What all tasks share.
        injections: The failures that it is to meet.
    """

    def __init__(self, task: Task, shared: Surroundings, injections: tuple[Injection, ...]) -> None:
        self.task = task
        self.results: list[AttemptResult] = []
        self.outputs = Outputs()
        #: Failures on purpose that happened.
        self.met: set[Injection] = set()
        #: When the next attempt is due, on the monotonic clock; None if none is.
        self.due: float | None = None
        self._shared = shared
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
        """The number of the attempt that runs, or would be next."""
        return len(self.results) + 1

    @property
    def is_running(self) -> bool:
        """Whether an attempt runs."""
        return self._attempt is not None

    def start(self, done: Mapping[str, Outputs]) -> None:
        """Starts the next attempt.

        Args:
            done: What the tasks that succeeded left.

        Raises:
            InputError: It cannot be given what it asks for.
        """
        shared, task = self._shared, self.task
        self.due = None
        self._injected, self._killed_at, self._is_late = None, None, False
        names = replace(shared.names, task_name=task.title)
        inputs = resolve_inputs(task, shared.run, done, names)
        name = f"{shared.names.run_id}-{task.name}-{self.number}"
        environment = task_environment(
            task, name, shared.run, inputs.parameters, shared.secrets, shared.config_maps
        )
        folder = shared.folder / task.name / str(self.number)
        self._pod = make_pod(task, name, folder, inputs, environment)
        if self.number == 1:
            self._first = time.monotonic()
        self._attempt = Attempt(
            self._pod.command,
            self._pod.environment,
            self._pod.work,
            self._pod.log,
            shared.masker,
            [one.line for one in self._pending() if one.line],
        )

    def look(self) -> AttemptResult | None:
        """Does what is due to the running attempt; returns its result once it has ended."""
        assert self._attempt is not None  # noqa: S101  only called while one runs
        code = self._attempt.poll()
        if code is not None:
            return self._end(code)
        self._inject()
        limit = self.task.timeout_s
        if limit is not None and self._attempt.seconds > limit and self._killed_at is None:
            self._is_late = True
            self.terminate(self._shared.grace_s)
        if self._killed_at is not None and time.monotonic() >= self._killed_at:
            self._attempt.kill()
        code = self._attempt.poll()
        return None if code is None else self._end(code)

    def terminate(self, grace_s: float) -> None:
        """Sends SIGTERM, and SIGKILL after the grace time.

        Args:
            grace_s: Seconds between the two.
        """
        if self._attempt is not None:
            self._attempt.send(signal.SIGTERM)
            self._killed_at = time.monotonic() + grace_s

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
        """Does to the attempt what it is to meet now."""
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
                self.terminate(self._shared.grace_s)
            else:
                self._attempt.kill()

    def _end(self, code: int, is_canceled: bool = False) -> AttemptResult:
        """What an ended attempt came to."""
        attempt, pod, shared = self._attempt, self._pod, self._shared
        assert attempt is not None and pod is not None  # noqa: S101  one has just ended
        state, reason = self._judged(code, is_canceled)
        if state == SUCCEEDED:
            try:
                self.outputs = read_outputs(self.task, pod.files, pod.written, pod.metadata)
            except OutputError as error:
                # The launcher's own end, when it finds an output missing.
                state, reason, code = FAILED, str(error), 1
        result = AttemptResult(
            number=self.number,
            state=state,
            exit_code=None if state == LOST else code,
            reason=shared.masker.mask(reason),
            started_s=round(attempt.began - shared.began, 3),
            seconds=round(attempt.seconds, 3),
            waited_s=round(self._waited_s, 3),
            command=[shared.masker.mask(word) for word in pod.command],
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
            self._waited_s = wait_s if shared.has_backoff else 0.0
            self.due = time.monotonic() + self._waited_s
        return result

    def _judged(self, code: int, is_canceled: bool) -> tuple[str, str]:
        """State and reason of an attempt that ended."""
        if is_canceled:
            return CANCELED, "the simulation was ended"
        if self._injected is not None and self._injected.kind == "lose":
            return LOST, "its pod was lost with its node, which no retry policy of KFP covers"
        if self._is_late:
            return TIMED_OUT, f"longer than {self.task.timeout_s:g} s"
        if code == 0:
            return SUCCEEDED, ""
        if code > 128 and code - 128 in set(signal.Signals):
            return FAILED, f"ended by {signal.Signals(code - 128).name}"
        return FAILED, f"exit code {code}"


def describe_input_error(error: InputError) -> str:
    """Why a task could not be given what it asks for."""
    return f"{error}; in a cluster the task's driver fails"
