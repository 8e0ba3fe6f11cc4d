"""Supervising process of a trial: `python -m ordain.serving.sandbox.supervisor FOLDER`.

It isolates itself from the network, starts the server (`ordain.serving.sandbox.server`) as its
child, waits for `GO` on standard input, sends the given requests through REST and gRPC, watches the
server's memory, and writes the result. It needs no TensorFlow and does not know the expected
outputs; `ordain.components.server_gate.component` evaluates the responses.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

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
    RESULT_FILE,
    SERIES_PAUSE_S,
    STOP_S,
    TRIAL_FILE,
    Bounds,
    Outcome,
    Protocol,
    Request,
    Response,
    Stop,
    Times,
)

_IMPORTED = re.compile(rf"^{IMPORTED}(?P<rest>.*)$")
#: Output of the server when it is ready.
_READY = re.compile(r"serving \S+ version .* on (?P<rest>\S+) and grpc (?P<grpc>\S+)")


class _Stopped(Exception):
    def __init__(self, why: Stop, detail: str) -> None:
        super().__init__(detail)
        self.why = why


def run(folder: Path) -> Outcome | None:
    """Runs a trial in this process, which loses the network for good.

    Returns:
        The result; None if standard input ended before `GO`.
    """
    outcome = Outcome(has_network=not isolate_network())
    command = [sys.executable, "-P", "-m", "ordain.serving.sandbox.server", str(folder)]
    with (folder / LOG_FILE).open("wb") as log:
        server = subprocess.Popen(  # noqa: S603  our own module
            command, stdout=subprocess.PIPE, stderr=log, text=True, stdin=subprocess.PIPE
        )
    try:
        if sys.stdin.buffer.read(len(GO)) != GO:
            return None
        _supervise(server, folder, outcome)
    finally:
        _stop(server)
    return outcome


def _supervise(server: subprocess.Popen[str], folder: Path, outcome: Outcome) -> None:
    """Starts serving and sends the requests; fills in the outcome."""
    raw = json.loads((folder / TRIAL_FILE).read_text())
    bounds = Bounds(**raw["bounds"])
    requests = [Request(**{**r, "body": base64.b64decode(r["body"])}) for r in raw["requests"]]
    cpu_s = (IMPORTS_S + bounds.whole_s) * (os.cpu_count() or 1)
    watch = MemoryWatch(server.pid, bounds.memory_bytes)
    assert server.stdin is not None and server.stdout is not None  # noqa: S101  they are pipes
    try:
        with watch:
            lines = Lines(server.stdout)
            imported = _wait_for(server, lines, _IMPORTED, IMPORTS_S, "imports", folder)
            outcome.has_files = imported["rest"] != ""
            began = time.monotonic()
            with contextlib.suppress(OSError):  # it died, which is detected next
                server.stdin.write(f"{int(cpu_s)}\n")
                server.stdin.flush()
            ready = _wait_for(server, lines, _READY, bounds.load_s, "load", folder)
            outcome.load_s = time.monotonic() - began
            _ask_all(requests, ready["rest"], ready["grpc"], bounds, outcome, server, folder)
    except _Stopped as stop:
        outcome.stopped, outcome.detail = stop.why, str(stop)
    finally:
        # The memory limit overrides any other outcome.
        if watch.is_exceeded:
            outcome.stopped = "memory"
            outcome.detail = f"killed at {watch.peak_bytes / 1e6:.0f} MB of resident memory"
        outcome.peak_bytes = watch.peak_bytes


def _wait_for(
    server: subprocess.Popen[str],
    lines: Lines,
    pattern: re.Pattern[str],
    limit_s: float,
    why: Stop,
    folder: Path,
) -> re.Match[str]:
    end = time.monotonic() + limit_s
    while (left := end - time.monotonic()) > 0:
        line = lines.next(min(left, 0.2))
        found = pattern.search(line) if line is not None else None
        if found:
            return found
        if line is None and server.poll() is not None:
            raise _Stopped("crash", _end_of(server, folder))
    raise _Stopped(why, f"timed out after {limit_s:g} s")


def _end_of(server: subprocess.Popen[str], folder: Path) -> str:
    """Exit code or signal of a server, and the last line of its log."""
    code = server.wait()
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    lines = (folder / LOG_FILE).read_text(errors="replace").strip().splitlines()
    return f"{how}: {lines[-1][:400]}" if lines else how


def _ask_all(
    requests: Sequence[Request],
    rest: str,
    grpc: str,
    bounds: Bounds,
    outcome: Outcome,
    server: subprocess.Popen[str],
    folder: Path,
) -> None:
    """Sends each request once, then those with one row repeatedly to measure their times."""
    with (
        rest_client(rest, bounds.answers_s) as by_rest,
        grpc_client(grpc, bounds.answers_s) as by_grpc,
    ):
        by: dict[Protocol, Send] = {"rest": by_rest, "grpc": by_grpc}

        def send(request: Request) -> Response:
            try:
                return Response(by[request.protocol](request.body))
            except Exception as error:  # client libraries may raise anything
                if server.poll() is not None:
                    raise _Stopped("crash", _end_of(server, folder)) from error
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


def _stop(server: subprocess.Popen[str]) -> None:
    server.terminate()
    try:
        server.wait(STOP_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        kill_tree(server.pid)
        server.wait()


def main(folder: str) -> None:
    """Runs the trial of a folder and writes its result there."""
    held = run(Path(folder))
    if held is None:
        shutil.rmtree(folder, ignore_errors=True)  # its creator has ended
        return
    outcome = asdict(held)
    for answer in outcome["answers"]:
        answer["body"] = base64.b64encode(answer["body"]).decode()
    Path(folder, RESULT_FILE).write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(sys.argv[1])
