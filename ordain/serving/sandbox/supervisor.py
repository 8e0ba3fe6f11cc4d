"""The process of a trial: `python -m ordain.serving.sandbox.supervisor FOLDER`.

It leaves the network, starts the server (`ordain.serving.sandbox.server`, which leaves the files)
as its child, waits for the word on standard input, asks the server the given requests through REST
and gRPC, watches its memory, and writes down what came. It knows neither TensorFlow nor what the
answers should be; `ordain.components.server_gate.component` judges.
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

from ordain.serving.sandbox.client import Ask, grpc_client, rest_client
from ordain.serving.sandbox.latency import take_series
from ordain.serving.sandbox.network import leave_network
from ordain.serving.sandbox.process import Lines, MemoryWatch, kill_tree
from ordain.serving.sandbox.sandbox import (
    GO,
    IMPORTED,
    IMPORTS_S,
    LOG_FILE,
    MAX_LOOKS,
    RESULT_FILE,
    SECOND_LOOK_S,
    STOP_S,
    TRIAL_FILE,
    Answer,
    Bounds,
    Outcome,
    Protocol,
    Request,
    Stop,
    Times,
)

_IMPORTED = re.compile(rf"^{IMPORTED}(?P<rest>.*)$")
#: What the server says when it can be asked.
_READY = re.compile(r"serving \S+ version .* on (?P<rest>\S+) and grpc (?P<grpc>\S+)")


class _Stopped(Exception):
    def __init__(self, why: Stop, detail: str) -> None:
        super().__init__(detail)
        self.why = why


def run(folder: Path) -> Outcome | None:
    """Holds a trial in this process, which loses the network for good.

    Returns:
        What came of it; None if nobody asked for it before standard input ended.
    """
    outcome = Outcome(has_network=not leave_network())
    command = [sys.executable, "-P", "-m", "ordain.serving.sandbox.server", str(folder)]
    with (folder / LOG_FILE).open("wb") as log:
        server = subprocess.Popen(  # noqa: S603  our own module
            command, stdout=subprocess.PIPE, stderr=log, text=True, stdin=subprocess.PIPE
        )
    try:
        if sys.stdin.buffer.read(len(GO)) != GO:
            return None
        _hold(server, folder, outcome)
    finally:
        _stop(server)
    return outcome


def _hold(server: subprocess.Popen[str], folder: Path, outcome: Outcome) -> None:
    """Serves and asks; whatever happens is in the outcome."""
    raw = json.loads((folder / TRIAL_FILE).read_text())
    bounds = Bounds(**raw["bounds"])
    requests = [Request(**{**r, "body": base64.b64decode(r["body"])}) for r in raw["requests"]]
    cpu_s = (IMPORTS_S + bounds.whole_s) * (os.cpu_count() or 1)
    watch = MemoryWatch(server.pid, bounds.memory_bytes)
    assert server.stdin is not None and server.stdout is not None  # noqa: S101  asked for
    try:
        with watch:
            lines = Lines(server.stdout)
            said = _wait_for(server, lines, _IMPORTED, IMPORTS_S, "imports", folder)
            outcome.has_files = said["rest"] != ""
            began = time.monotonic()
            with contextlib.suppress(OSError):  # it died, which is seen next
                server.stdin.write(f"{int(cpu_s)}\n")
                server.stdin.flush()
            ready = _wait_for(server, lines, _READY, bounds.load_s, "load", folder)
            outcome.load_s = time.monotonic() - began
            _ask_all(requests, ready["rest"], ready["grpc"], bounds, outcome, server, folder)
    except _Stopped as stop:
        outcome.stopped, outcome.detail = stop.why, str(stop)
    finally:
        # What it answered counts for nothing if it took too much.
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
            raise _Stopped("crash", _last_words(server, folder))
    raise _Stopped(why, f"not within {limit_s:g} s")


def _last_words(server: subprocess.Popen[str], folder: Path) -> str:
    """How a server ended: its code or signal, and the last line of its log."""
    code = server.wait()
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    said = (folder / LOG_FILE).read_text(errors="replace").strip().splitlines()
    return f"{how}: {said[-1][:400]}" if said else how


def _ask_all(
    requests: Sequence[Request],
    rest: str,
    grpc: str,
    bounds: Bounds,
    outcome: Outcome,
    server: subprocess.Popen[str],
    folder: Path,
) -> None:
    """Asks each request once, then those of one row again and again for their times."""
    with (
        rest_client(rest, bounds.answers_s) as by_rest,
        grpc_client(grpc, bounds.answers_s) as by_grpc,
    ):
        by: dict[Protocol, Ask] = {"rest": by_rest, "grpc": by_grpc}

        def answer(request: Request) -> Answer:
            try:
                return Answer(by[request.protocol](request.body))
            except Exception as failure:
                # Whatever a client library raises is an answer that did not come.
                if server.poll() is not None:
                    raise _Stopped("crash", _last_words(server, folder)) from failure
                return Answer(error=f"{type(failure).__name__}: {failure}"[:500])

        def timed(number: int) -> float:
            began = time.monotonic()
            found = answer(requests[number])
            if found.error:
                outcome.answers[number] = found
            return (time.monotonic() - began) * 1000

        end = time.monotonic() + bounds.answers_s
        for request in requests:
            if time.monotonic() > end:
                raise _Stopped("time", f"not all answers within {bounds.answers_s:g} s")
            outcome.answers.append(answer(request))
        for protocol in by:
            single = [
                number
                for number, request in enumerate(requests)
                if (request.protocol, request.rows) == (protocol, 1)
                and not outcome.answers[number].error
            ]
            if single:
                outcome.looks[protocol] = _looks(timed, single, bounds)


def _looks(timed: Callable[[int], float], single: Sequence[int], bounds: Bounds) -> list[Times]:
    """One series of times, and a second one if the first was too slow."""
    looks: list[Times] = []
    while True:
        series = take_series(timed, single, bounds.p99_ms, bounds.series_s)
        looks.append(list(series.times_ms))
        if not series.is_over or len(looks) == MAX_LOOKS:
            return looks
        time.sleep(SECOND_LOOK_S)


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
    """Holds the trial of a folder and writes its result there."""
    held = run(Path(folder))
    if held is None:
        shutil.rmtree(folder, ignore_errors=True)  # who made it is gone
        return
    outcome = asdict(held)
    for answer in outcome["answers"]:
        answer["body"] = base64.b64encode(answer["body"]).decode()
    Path(folder, RESULT_FILE).write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(sys.argv[1])
