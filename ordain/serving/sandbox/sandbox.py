"""A candidate on trial: a server of its own, without network, with bounded files, memory and time.

This is the side of the server gate: what is asked, what came of it, and the process between
(`ordain.serving.sandbox.supervisor`), which starts the server (`ordain.serving.sandbox.server`).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

from ordain.common.package import ROOT
from ordain.serving.sandbox.process import kill_tree

TRIAL_FILE, RESULT_FILE = "trial.json", "result.json"
LOG_FILE, TRIAL_LOG_FILE = "server.log", "trial.log"
#: In the trial's folder: what the server may read, and where it may write.
CANDIDATE_FOLDER, SCRATCH_FOLDER = "candidate", "scratch"
#: The word that there is something to serve.
GO = b"go\n"
#: What `ordain.serving.sandbox.server` says when its imports are done, with or without other files.
IMPORTED = "imported"
HAS_FILES = "and can open other files"
#: Seconds to import TensorFlow, which says nothing about the model.
IMPORTS_S = 180.0
#: Seconds for the server to end by itself.
STOP_S = 5.0
#: Series of latency samples before a model is refused for time alone, and the seconds between two:
#: a pause of the machine that spoilt the first is likely to be over.
MAX_LOOKS, SECOND_LOOK_S = 2, 2.0
#: A server that writes more than this to a file or its log is not right.
MAX_FILE_BYTES = 100_000_000
#: What a server needs of the environment; proxies and credentials are not among it.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ", "TF_ENABLE_ONEDNN_OPTS")

Protocol = Literal["rest", "grpc"]
Stop = Literal["imports", "load", "memory", "time", "crash"]
#: Milliseconds of one request after the other.
Times = list[float]


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
        p99_ms: Limit on the time of a request of one row; one that is over it is looked at again.
        answers_s: Seconds for all answers together.
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
        looks = MAX_LOOKS * len(get_args(Protocol))
        return self.load_s + self.answers_s + looks * (self.series_s + SECOND_LOOK_S)


@dataclass(frozen=True)
class Answer:
    """What came of one request.

    Attributes:
        body: The answer's body; empty if there was an error.
        error: Status and message of a refusal; empty if there was none.
    """

    body: bytes = b""
    error: str = ""


@dataclass
class Outcome:
    """What came of a trial.

    Attributes:
        stopped: Why the server was given up; None if it answered to the end.
        detail: What is known about that.
        has_network: Whether the server could reach other machines.
        has_files: Whether the server could open files other than the candidate's and its own.
        load_s: Seconds to load the model and warm it up; None if it never was.
        peak_bytes: Most resident memory seen.
        answers: One for each request, as far as it got.
        looks: By protocol, the times in milliseconds of each series of requests of one row; a
            second series where the first was too slow.
    """

    stopped: Stop | None = None
    detail: str = ""
    has_network: bool = True
    has_files: bool = True
    load_s: float | None = None
    peak_bytes: int = 0
    answers: list[Answer] = field(default_factory=list)
    looks: dict[str, list[Times]] = field(default_factory=dict)


class Trial:
    """A server on trial, from the start of its imports to its end.

    Attributes:
        base: Serving directory that the candidate is put into, as its only version.

    It can be started before there is a candidate: the imports say nothing about the model and take
    longer than anything else here.
    """

    def __init__(self) -> None:
        """Starts the process, which imports TensorFlow and waits for `ask`."""
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
        """Whether it can be asked: it lives, and was not asked before."""
        return self._bounds is None and self._process.poll() is None

    def ask(self, requests: Sequence[Request], bounds: Bounds) -> None:
        """Has the candidate in `base` served and asked.

        Args:
            requests: What to ask.
            bounds: What the server may take.
        """
        raw = {
            "bounds": asdict(bounds),
            "requests": [
                asdict(request) | {"body": base64.b64encode(request.body).decode()}
                for request in requests
            ],
        }
        (self.folder / TRIAL_FILE).write_text(json.dumps(raw))
        self._bounds = bounds
        assert self._process.stdin is not None  # noqa: S101  it was asked for
        # A trial that died says so in `finish`.
        with contextlib.suppress(OSError):
            self._process.stdin.write(GO)
            self._process.stdin.flush()

    def finish(self) -> Outcome:
        """Waits for what came of it, and ends what is left of the process."""
        if self._bounds is None:
            raise ValueError("a trial that was not asked does not finish")
        limit = IMPORTS_S + self._bounds.whole_s + 4 * STOP_S
        try:
            self._process.wait(limit)
        except subprocess.TimeoutExpired:
            return Outcome("time", f"the trial did not end within {limit:.0f} s")
        finally:
            kill_tree(self._process.pid)
        try:
            raw = json.loads((self.folder / RESULT_FILE).read_text())
        except (OSError, ValueError):
            log = (self.folder / TRIAL_LOG_FILE).read_text(errors="replace").strip().splitlines()
            return Outcome("crash", f"the trial ended without a result: {''.join(log[-1:])[:300]}")
        raw["answers"] = [Answer(base64.b64decode(a["body"]), a["error"]) for a in raw["answers"]]
        return Outcome(**raw)

    def close(self) -> None:
        """Ends the process if it lives, and removes its folder."""
        kill_tree(self._process.pid)
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        shutil.rmtree(self.folder, ignore_errors=True)


_ahead: Trial | None = None


def start_ahead() -> None:
    """Starts a trial that `take` hands out, while whoever needs it has other things to do."""
    global _ahead  # noqa: PLW0603  one for each process
    if _ahead is None:
        _ahead = Trial()


def take() -> Trial:
    """The trial that was started ahead, if it still waits; otherwise a new one.

    Whoever takes it closes it.
    """
    global _ahead
    taken, _ahead = _ahead, None
    if taken is not None and not taken.is_waiting:
        taken.close()
        taken = None
    return taken or Trial()


def close_ahead() -> None:
    """Ends a trial that was started ahead and that nobody took."""
    global _ahead  # noqa: PLW0603  one for each process
    if _ahead is not None:
        _ahead.close()
        _ahead = None
