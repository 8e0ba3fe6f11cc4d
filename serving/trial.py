"""A candidate on trial: a server of its own, without network, with bounded memory and time.

Run as a process of its own (`python -m serving.trial TRIAL`), which leaves the network, starts
the server (`serving.trial_server`) as its child, asks it the given requests through REST and
gRPC, watches its memory, and writes down what came. It knows neither TensorFlow nor what the
answers should be; `components.server_gate` judges.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from serving.no_network import leave_network
from serving.trial_client import grpc_client, rest_client
from serving.trial_process import Lines, MemoryWatch, kill_tree

TRIAL_FILE, RESULT_FILE, LOG_FILE = "trial.json", "result.json", "server.log"
#: What `serving.trial_server` says when its imports are done, and when it can be asked.
LOADING = "loading"
_READY = re.compile(r"serving \S+ version .* on (?P<rest>\S+) and grpc (?P<grpc>\S+)")
#: Seconds to import TensorFlow, which says nothing about the model.
IMPORTS_S = 180.0
#: Seconds for the server to end by itself.
STOP_S = 5.0
#: A server that writes more than this to a file or its log is not right.
MAX_FILE_BYTES = 100_000_000
#: What a server needs of the environment; proxies and credentials are not among it.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ", "TF_ENABLE_ONEDNN_OPTS")

Protocol = Literal["rest", "grpc"]
Stop = Literal["imports", "load", "memory", "time", "crash"]


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        protocol: How it is asked.
        body: JSON text, or a serialized `PredictRequest`.
        first: Number of its first row among the golden rows.
        rows: Rows it holds.
    """

    protocol: Protocol
    body: bytes
    first: int
    rows: int


@dataclass(frozen=True)
class Bounds:
    """What a server on trial may take.

    Attributes:
        load_s: Seconds from the end of the imports to the first possible request.
        memory_bytes: Resident memory of the server and what it starts.
        answers_s: Seconds for all answers together.
        repeat: How often each request is asked; the first answer is kept.
    """

    load_s: float
    memory_bytes: int
    answers_s: float = 120.0
    repeat: int = 3


@dataclass(frozen=True)
class Answer:
    """What came of one request.

    Attributes:
        body: The answer's body; empty if there was an error.
        error: Status and message of a refusal; empty if there was none.
        seconds: Time of each time it was asked.
    """

    body: bytes = b""
    error: str = ""
    seconds: tuple[float, ...] = ()


@dataclass
class Outcome:
    """What came of a trial.

    Attributes:
        stopped: Why the server was given up; None if it answered to the end.
        detail: What is known about that.
        has_network: Whether the server could reach other machines.
        load_s: Seconds to load the model and warm it up; None if it never was.
        peak_bytes: Most resident memory seen.
        answers: One for each request, as far as it got.
    """

    stopped: Stop | None = None
    detail: str = ""
    has_network: bool = True
    load_s: float | None = None
    peak_bytes: int = 0
    answers: list[Answer] = field(default_factory=list)


def start(folder: Path, base: Path, requests: Sequence[Request], bounds: Bounds) -> Any:
    """Starts a trial.

    Args:
        folder: An empty folder for the trial's files.
        base: Serving directory with the candidate as its only version.
        requests: What to ask.
        bounds: What the server may take.

    Returns:
        The process, for `finish`.
    """
    raw = {
        "base": str(base),
        "bounds": asdict(bounds),
        "requests": [
            asdict(request) | {"body": base64.b64encode(request.body).decode()}
            for request in requests
        ],
    }
    (folder / TRIAL_FILE).write_text(json.dumps(raw))
    root = str(Path(__file__).resolve().parents[1])
    environment = {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
    environment |= {"HOME": str(folder), "PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "2"}
    return subprocess.Popen(  # noqa: S603  our own module
        [sys.executable, "-P", "-m", "serving.trial", str(folder)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "trial.log").open("wb"),
        start_new_session=True,
    )


def finish(process: Any, folder: Path, bounds: Bounds) -> Outcome:
    """Waits for a trial, and ends what is left of it.

    Args:
        process: What `start` returned.
        folder: The trial's folder.
        bounds: The same as for `start`.
    """
    limit = IMPORTS_S + bounds.load_s + bounds.answers_s + 4 * STOP_S
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        return Outcome("time", f"the trial did not end within {limit:.0f} s")
    finally:
        kill_tree(process.pid)
    try:
        raw = json.loads((folder / RESULT_FILE).read_text())
    except (OSError, ValueError):
        log = (folder / "trial.log").read_text(errors="replace").strip().splitlines()
        return Outcome("crash", f"the trial ended without a result: {''.join(log[-1:])[:300]}")
    raw["answers"] = [
        Answer(base64.b64decode(a["body"]), a["error"], tuple(a["seconds"])) for a in raw["answers"]
    ]
    return Outcome(**raw)


class _Stopped(Exception):
    def __init__(self, why: Stop, detail: str) -> None:
        super().__init__(detail)
        self.why = why


def run(folder: Path) -> Outcome:
    """Holds a trial in this process, which loses the network for good."""
    raw = json.loads((folder / TRIAL_FILE).read_text())
    bounds = Bounds(**raw["bounds"])
    requests = [Request(**{**r, "body": base64.b64decode(r["body"])}) for r in raw["requests"]]
    outcome = Outcome(has_network=not leave_network())
    cpu_s = (IMPORTS_S + bounds.load_s + bounds.answers_s) * (os.cpu_count() or 1)
    command = [sys.executable, "-P", "-m", "serving.trial_server", raw["base"], str(int(cpu_s))]
    with (folder / LOG_FILE).open("wb") as log:
        server = subprocess.Popen(  # noqa: S603  our own module
            command, stdout=subprocess.PIPE, stderr=log, text=True, stdin=subprocess.DEVNULL
        )
    watch = MemoryWatch(server.pid, bounds.memory_bytes)
    try:
        with watch:
            assert server.stdout is not None  # noqa: S101  it was asked for
            lines = Lines(server.stdout)
            _wait_for(server, lines, re.compile(LOADING), IMPORTS_S, "imports", folder)
            began = time.monotonic()
            ready = _wait_for(server, lines, _READY, bounds.load_s, "load", folder)
            outcome.load_s = time.monotonic() - began
            _ask_all(requests, ready["rest"], ready["grpc"], bounds, outcome, server, folder)
    except _Stopped as stop:
        outcome.stopped, outcome.detail = stop.why, str(stop)
    finally:
        _stop(server)
    if watch.is_exceeded:
        outcome.stopped = "memory"
        outcome.detail = f"killed at {watch.peak_bytes / 1e6:.0f} MB of resident memory"
    outcome.peak_bytes = watch.peak_bytes
    return outcome


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
    end = time.monotonic() + bounds.answers_s
    with (
        rest_client(rest, bounds.answers_s) as by_rest,
        grpc_client(grpc, bounds.answers_s) as by_grpc,
    ):
        for request in requests:
            ask = by_rest if request.protocol == "rest" else by_grpc
            body, error, seconds = b"", "", []
            for number in range(bounds.repeat):
                began = time.monotonic()
                if began > end:
                    raise _Stopped("time", f"not all answers within {bounds.answers_s:g} s")
                try:
                    answered = ask(request.body)
                except Exception as failure:
                    # Whatever a client library raises is an answer that did not come.
                    if server.poll() is not None:
                        raise _Stopped("crash", _last_words(server, folder)) from failure
                    error = f"{type(failure).__name__}: {failure}"[:500]
                    break
                seconds.append(time.monotonic() - began)
                body = body if number else answered
            outcome.answers.append(Answer(b"" if error else body, error, tuple(seconds)))


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
    outcome = asdict(run(Path(folder)))
    for answer in outcome["answers"]:
        answer["body"] = base64.b64encode(answer["body"]).decode()
    Path(folder, RESULT_FILE).write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(sys.argv[1])
