"""Supervising process of a trial: `python -m ordain.serving.sandbox.supervisor FOLDER`.

It isolates itself from the network, starts the server (`ordain.serving.sandbox.server`) as its
child, waits for `GO` on standard input, sends the given requests through REST and gRPC, watches the
server's memory, and writes the result. It needs no TensorFlow and does not know the expected
outputs; `ordain.components.server_gate.component` evaluates the responses.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ordain.errors import utf8_text
from ordain.serving.sandbox.client import Send, grpc_client, rest_client
from ordain.serving.sandbox.latency import take_series
from ordain.serving.sandbox.network import isolate_network
from ordain.serving.sandbox.process import Lines, MemoryWatch, kill_tree
from ordain.serving.sandbox.sandbox import (
    GO,
    IMPORTED,
    IMPORTS_S,
    LOG_FILE,
    MAX_SERIES,
    OUTCOME,
    RESULT_FILE,
    SERIES_PAUSE_S,
    STOP_S,
    TASK,
    TRIAL_FILE,
    Bounds,
    Outcome,
    Protocol,
    Request,
    Response,
    Stop,
    Task,
    Times,
)

_IMPORTED = re.compile(rf"^{IMPORTED}(?P<rest>.*)$")
#: Output of the server when it is ready.
_READY = re.compile(r"serving \S+ version .* on (?P<rest>\S+) and grpc (?P<grpc>\S+)")


class _Stopped(Exception):
    def __init__(self, why: Stop, detail: str) -> None:
        super().__init__(detail)
        self.why = why


class _Server:
    """The server's process; it imports TensorFlow and then waits for a line on its input."""

    def __init__(self, folder: Path) -> None:
        """Starts it for the folder of a trial."""
        self._log = folder / LOG_FILE
        command = [sys.executable, "-P", "-m", "ordain.serving.sandbox.server", str(folder)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603  our own module
                command, stdout=subprocess.PIPE, stderr=log, text=True, stdin=subprocess.PIPE
            )
        assert self.process.stdout is not None  # noqa: S101  it is a pipe
        self._lines = Lines(self.process.stdout)

    def write(self, text: str) -> None:
        """Writes a line to its input; a process that has died is found by `wait_for`."""
        assert self.process.stdin is not None  # noqa: S101  it is a pipe
        with contextlib.suppress(OSError):
            self.process.stdin.write(f"{text}\n")
            self.process.stdin.flush()

    def wait_for(self, pattern: re.Pattern[str], limit_s: float, why: Stop) -> re.Match[str]:
        """Waits for a line of its output; raises `_Stopped` if it ends or the time is up."""
        end = time.monotonic() + limit_s
        while (left := end - time.monotonic()) > 0:
            line = self._lines.next(min(left, 0.2))
            found = pattern.search(line) if line is not None else None
            if found:
                return found
            if line is None:
                self.check_alive()
        raise _Stopped(why, f"timed out after {limit_s:g} s")

    def check_alive(self) -> None:
        """Raises `_Stopped` with its exit code and the last line of its log if it has ended."""
        code = self.process.poll()
        if code is not None:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            lines = self._log.read_text(errors="replace").strip().splitlines()
            raise _Stopped("crash", f"{how}: {lines[-1][:400]}" if lines else how)

    def stop(self) -> None:
        """Ends it, and kills what is left of it."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        kill_tree(self.process.pid)
        self.process.wait()


def run(folder: Path) -> Outcome | None:
    """Runs a trial in this process, which loses the network for good.

    Returns:
        The result; None if standard input ended before `GO`.
    """
    outcome = Outcome(has_network=not isolate_network())
    server = _Server(folder)
    try:
        if sys.stdin.buffer.read(len(GO)) != GO:
            return None
        task = TASK.validate_json((folder / TRIAL_FILE).read_bytes())
        _supervise(server, task, outcome)
    finally:
        server.stop()
    return outcome


def _supervise(server: _Server, task: Task, outcome: Outcome) -> None:
    """Starts serving and sends the requests; fills in the outcome."""
    bounds = task.bounds
    cpu_s = (IMPORTS_S + bounds.whole_s) * (os.cpu_count() or 1)
    watch = MemoryWatch(server.process.pid, bounds.memory_bytes)
    try:
        with watch:
            imported = server.wait_for(_IMPORTED, IMPORTS_S, "imports")
            outcome.has_files = imported["rest"] != ""
            began = time.monotonic()
            server.write(str(int(cpu_s)))
            ready = server.wait_for(_READY, bounds.load_s, "load")
            outcome.load_s = time.monotonic() - began
            _send_all(server, ready, task, outcome)
    except _Stopped as stop:
        outcome.stopped, outcome.detail = stop.why, str(stop)
    finally:
        # The memory limit overrides any other outcome.
        if watch.is_exceeded:
            outcome.stopped = "memory"
            outcome.detail = f"killed at {watch.peak_bytes / 1e6:.0f} MB of resident memory"
        outcome.peak_bytes = watch.peak_bytes


def _send_all(server: _Server, ready: re.Match[str], task: Task, outcome: Outcome) -> None:
    """Sends each request once, then those with one row repeatedly to measure their times."""
    bounds, requests = task.bounds, task.requests
    with (
        rest_client(ready["rest"], bounds.answers_s) as by_rest,
        grpc_client(ready["grpc"], bounds.answers_s) as by_grpc,
    ):
        by: dict[Protocol, Send] = {"rest": by_rest, "grpc": by_grpc}

        def send(request: Request) -> Response:
            try:
                return Response(by[request.protocol](request.body))
            except Exception as error:  # client libraries may raise anything
                server.check_alive()
                return Response(error=f"{type(error).__name__}: {error}"[:500])

        def timed(number: int) -> float:
            began = time.monotonic()
            found = send(requests[number])
            if found.error:
                outcome.answers[number] = found
            return (time.monotonic() - began) * 1000

        end = time.monotonic() + bounds.answers_s
        for request in requests:
            if time.monotonic() > end:
                raise _Stopped("time", f"the responses timed out after {bounds.answers_s:g} s")
            outcome.answers.append(send(request))
        for protocol in by:
            single = [
                number
                for number, request in enumerate(requests)
                if (request.protocol, request.rows) == (protocol, 1)
                and not outcome.answers[number].error
            ]
            if single:
                outcome.series[protocol] = _take_all(timed, single, bounds)


def _take_all(timed: Callable[[int], float], single: Sequence[int], bounds: Bounds) -> list[Times]:
    """Takes one series of times, and a second one if the first was too slow."""
    taken: list[Times] = []
    while True:
        series = take_series(timed, single, bounds.p99_ms, bounds.series_s)
        taken.append(list(series.times_ms))
        if not series.is_over or len(taken) == MAX_SERIES:
            return taken
        time.sleep(SERIES_PAUSE_S)


def main(folder: str) -> None:
    """Runs the trial of a folder and writes its result there."""
    outcome = run(Path(folder))
    if outcome is None:
        shutil.rmtree(folder, ignore_errors=True)  # its creator has ended
    else:
        outcome.detail = utf8_text(outcome.detail)
        Path(folder, RESULT_FILE).write_bytes(OUTCOME.dump_json(outcome))


if __name__ == "__main__":
    main(sys.argv[1])
