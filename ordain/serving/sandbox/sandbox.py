"""Trial server for a candidate: no network, restricted files, limits on memory and time.

This is the server gate's side. It starts the supervising process
(`ordain.serving.sandbox.supervisor`), which starts the server (`ordain.serving.sandbox.server`),
and exchanges requests and results with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from pydantic import ConfigDict, TypeAdapter

from ordain.common.package import ROOT
from ordain.errors import utf8_text
from ordain.serving.sandbox.process import kill_tree

TRIAL_FILE, RESULT_FILE = "trial.json", "result.json"
LOG_FILE, TRIAL_LOG_FILE = "server.log", "trial.log"
#: Folders of a trial that the server may read, and write.
CANDIDATE_FOLDER, SCRATCH_FOLDER = "candidate", "scratch"
#: Sent to the supervisor once there is a candidate.
GO = b"go\n"
#: Output of `ordain.serving.sandbox.server` after its imports, without or with access to files.
IMPORTED = "imported"
HAS_FILES = "and can open other files"
#: Time limit to import TensorFlow, which does not depend on the model.
IMPORTS_S = 180.0
#: Seconds for the server to end by itself.
STOP_S = 5.0
#: Latency series before a model is refused for latency alone, and the seconds between two, so that
#: a pause of the machine does not affect both.
MAX_SERIES, SERIES_PAUSE_S = 2, 2.0
#: Largest file or log that a server may write.
MAX_FILE_BYTES = 100_000_000
#: Environment variables passed to the server; no proxies or credentials.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ", "TF_ENABLE_ONEDNN_OPTS")

Protocol = Literal["rest", "grpc"]
Stop = Literal["imports", "load", "memory", "time", "crash"]
#: Milliseconds of sequential requests.
Times = list[float]


#: Bodies are base64 in the files that the processes exchange.
_BASE64 = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        protocol: Protocol to send it with.
        body: JSON text, or a serialized `PredictRequest`.
        first: Number of its first row among the golden rows.
        rows: Number of its rows.
    """

    __pydantic_config__ = _BASE64

    protocol: Protocol
    body: bytes
    first: int
    rows: int


@dataclass(frozen=True)
class Bounds:
    """Limits of a trial server.

    Attributes:
        load_s: Seconds from the end of the imports to the first possible request.
        memory_bytes: Resident memory of the server and its children.
        p99_ms: Limit on the time of a request with one row; a series above it is repeated once.
        answers_s: Seconds for all responses together.
        series_s: Seconds for one series of latency samples.
    """

    load_s: float
    memory_bytes: int
    p99_ms: float
    answers_s: float = 120.0
    series_s: float = 30.0

    @property
    def whole_s(self) -> float:
        """Seconds from the end of the imports to the end of the trial."""
        series = MAX_SERIES * len(get_args(Protocol))
        return self.load_s + self.answers_s + series * (self.series_s + SERIES_PAUSE_S)


@dataclass(frozen=True)
class Response:
    """Response to one request.

    Attributes:
        body: Its body; empty after an error.
        error: Status and message of an error, or empty.
    """

    __pydantic_config__ = _BASE64

    body: bytes = b""
    error: str = ""

    def __post_init__(self) -> None:
        """Makes the error one that files can hold."""
        object.__setattr__(self, "error", utf8_text(self.error))


@dataclass
class Outcome:
    """Result of a trial.

    Attributes:
        stopped: Why the trial ended early; None if all requests were sent.
        detail: Details about that.
        has_network: Whether the server could reach other machines.
        has_files: Whether the server could open files other than the candidate's and its own.
        load_s: Seconds to load the model and warm it up; None if it was not loaded.
        peak_bytes: Highest resident memory seen.
        answers: Responses to the requests, in order, as far as they were sent.
        series: Series of times of requests with one row, in milliseconds, by protocol; a second
            series if the first was too slow.
    """

    stopped: Stop | None = None
    detail: str = ""
    has_network: bool = True
    has_files: bool = True
    load_s: float | None = None
    peak_bytes: int = 0
    answers: list[Response] = field(default_factory=list)
    series: dict[str, list[Times]] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """Content of `TRIAL_FILE`: the limits of the server, and the requests to it."""

    bounds: Bounds
    requests: tuple[Request, ...]


TASK, OUTCOME = TypeAdapter(Task), TypeAdapter(Outcome)


class Trial:
    """A trial server, from the start of its imports to its end.

    It can be started before there is a candidate: the imports do not depend on the model, and take
    longest.

    Attributes:
        base: Serving directory for the candidate, its only version.
    """

    def __init__(self) -> None:
        """Starts the processes, which import TensorFlow and wait for `ask`."""
        self.folder = Path(tempfile.mkdtemp(prefix="ordain-trial-"))
        self.base = self.folder / CANDIDATE_FOLDER
        self.base.mkdir()
        (self.folder / SCRATCH_FOLDER).mkdir()
        environment = {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
        environment |= {
            "HOME": str(self.folder / SCRATCH_FOLDER),
            "TMPDIR": str(self.folder / SCRATCH_FOLDER),
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        with (self.folder / TRIAL_LOG_FILE).open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own module
                [sys.executable, "-P", "-m", "ordain.serving.sandbox.supervisor", str(self.folder)],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        self._bounds: Bounds | None = None

    @property
    def is_waiting(self) -> bool:
        """True if `ask` can be called: the process lives, and it was not called before."""
        return self._bounds is None and self._process.poll() is None

    def ask(self, requests: Sequence[Request], bounds: Bounds) -> None:
        """Serves the candidate in `base` and sends the requests to it.

        Args:
            requests: The requests.
            bounds: Limits of the server.
        """
        (self.folder / TRIAL_FILE).write_bytes(TASK.dump_json(Task(bounds, tuple(requests))))
        self._bounds = bounds
        assert self._process.stdin is not None  # noqa: S101  it is a pipe
        # `finish` reports a trial that died.
        with contextlib.suppress(OSError):
            self._process.stdin.write(GO)
            self._process.stdin.flush()

    def finish(self) -> Outcome:
        """Waits for the result, and kills what is left of the processes."""
        if self._bounds is None:
            raise ValueError("finish needs ask before it")
        limit = IMPORTS_S + self._bounds.whole_s + 4 * STOP_S
        try:
            self._process.wait(limit)
        except subprocess.TimeoutExpired:
            return Outcome("time", f"the trial timed out after {limit:.0f} s")
        finally:
            kill_tree(self._process.pid)
        try:
            return OUTCOME.validate_json((self.folder / RESULT_FILE).read_bytes())
        except (OSError, ValueError):
            log = (self.folder / TRIAL_LOG_FILE).read_text(errors="replace").strip().splitlines()
            return Outcome("crash", f"the trial ended without a result: {''.join(log[-1:])[:300]}")

    def close(self) -> None:
        """Kills the processes, and removes the trial's folder."""
        kill_tree(self._process.pid)
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        shutil.rmtree(self.folder, ignore_errors=True)


_ahead: Trial | None = None


def start_ahead() -> None:
    """Starts a trial in advance, for a later `take`."""
    global _ahead  # noqa: PLW0603  one for each process
    if _ahead is None:
        _ahead = Trial()


def take() -> Trial:
    """Returns the trial that was started ahead, if it still waits, or else a new one.

    The caller closes it.
    """
    global _ahead
    taken, _ahead = _ahead, None
    if taken is not None and not taken.is_waiting:
        taken.close()
        taken = None
    return taken or Trial()


def close_ahead() -> None:
    """Closes a trial that was started ahead and not taken."""
    global _ahead  # noqa: PLW0603  one for each process
    if _ahead is not None:
        _ahead.close()
        _ahead = None
