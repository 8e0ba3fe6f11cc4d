"""Loading a version in a process of its own first: what hangs or takes all memory harms no server.

A thread that hangs cannot be ended, and a process that runs out of memory ends as a whole, so the
first load is not the serving process's. `Trials` forks a process before TensorFlow has made its
first thread; that process has everything imported, does nothing but fork, and shares its memory
with the server. For each version it forks a supervisor, which forks the process that checks, loads
and warms the version as the server is going to, and holds it to its limits:

    server > forks > supervisor, one for each version > the version

Each ends with the one before it, whatever ends that.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import select
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NoReturn

import psutil

from ordain.serving.sandbox.process import MemoryWatch, kill_tree
from ordain.serving.server.models.loaded_model import LoadedModel
from ordain.serving.server.models.signature_defs import LoadError

#: Loads a version: its folder and number. Raises an error that says why it cannot be served.
Load = Callable[[Path, int], LoadedModel]

_PR_SET_PDEATHSIG = 1
#: Longest message between the processes.
_MAX_BYTES = 100_000
#: Longest reason that a version is refused with.
_MAX_REASON = 1000
#: The system ends a version on trial first where memory runs out (man 5 proc_pid_oom_score_adj).
_FIRST_TO_GO = "1000"
#: Requests go first where processors are short, and a version that loads is not starved.
_NICE = 10
#: Part of the time limit that the first try has, before the second has all of it.
_FIRST_TRY = 0.25
#: Seconds for the processes between to begin and to end.
_GRACE_S = 30.0
#: What is said of a version that can be served.
_FINE = b"\0"
#: Files that the version's check may leave for a moment are below a folder of this name.
_FOLDER_PREFIX = "ordain-load-"


@dataclass(frozen=True)
class Limits:
    """Limits on the load of a version.

    Attributes:
        seconds: From the start of its check to the end of its warm-up.
        memory_bytes: Resident memory beyond what the server's modules take.
    """

    seconds: float
    memory_bytes: int


class Trials:
    """The process that forks, as the server has it."""

    def __init__(self, load: Load) -> None:
        """Forks; has to come before TensorFlow's first operation, by the main thread."""
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server = os.getpid()
        self._pid = os.fork()
        if not self._pid:
            try:
                self._ours.close()
                _fork_forever(server, theirs, load)
            finally:  # whatever happens, there is no second server
                os._exit(1)
        theirs.close()

    @property
    def is_alive(self) -> bool:
        """True if versions can be tried."""
        with contextlib.suppress(ChildProcessError):
            return os.waitpid(self._pid, os.WNOHANG) == (0, 0)
        return False

    async def find_fault(self, folder: Path, version: int, limits: Limits) -> str:
        """Loads a version on trial; the trial ends when this is cancelled.

        Args:
            folder: The version's folder.
            version: Its number.
            limits: What it may take.

        Returns:
            Why it cannot be served, or an empty text.
        """
        ours, theirs = socket.socketpair()
        try:
            request = json.dumps([str(folder), version, asdict(limits)]).encode()
            socket.send_fds(self._ours, [request], [theirs.fileno()])
        except OSError as error:
            ours.close()
            return f"the process that tries versions is gone ({error}): restart the server"
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            async with asyncio.timeout(limits.seconds * (1 + _FIRST_TRY) + _GRACE_S):
                answer = await reader.read(_MAX_BYTES)
        except (TimeoutError, OSError):
            answer = b""
        finally:
            writer.close()
        if answer == _FINE:
            return ""
        return answer.decode(errors="replace") or "its trial did not answer"


def _fork_forever(server: int, requests: socket.socket, load: Load) -> NoReturn:
    """The process that forks: a supervisor for each request, until the server ends."""
    _end_with(server)
    # Ctrl-C reaches the whole group; the server decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are not waited for
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):  # who reads what the server says must see it end with the server
        os.dup2(nothing, descriptor)
    me = os.getpid()
    while True:
        try:
            request, descriptors, *_ = socket.recv_fds(requests, _MAX_BYTES, 1)
        except OSError:
            os._exit(1)
        if not request:
            os._exit(0)
        with contextlib.suppress(BlockingIOError):  # too many processes: no answer is a refusal
            if not os.fork():
                requests.close()
                _supervise(me, request, socket.socket(fileno=descriptors[0]), load)
        os.close(descriptors[0])


def _supervise(parent: int, request: bytes, answers: socket.socket, load: Load) -> NoReturn:
    """Holds one version to its limits, and says what came of it."""
    _end_with(parent)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX))
        path, version, raw = json.loads(request)
        reason = _try(Path(path), version, Limits(**raw), answers, folder, load)
        shutil.rmtree(folder, ignore_errors=True)
    except BaseException as error:
        reason = f"its trial failed: {_text_of(error)}"
    with contextlib.suppress(OSError):  # the server asks no more
        answers.sendall(reason.encode(errors="replace")[:_MAX_REASON] or _FINE)
    os._exit(0)


def _try(
    path: Path, version: int, limits: Limits, answers: socket.socket, folder: Path, load: Load
) -> str:
    """Loads a version in a further process; why it cannot be served, or an empty text.

    The first try gets processor time that nobody else wants, so that requests do not notice it.
    On a machine that is busy throughout it comes to no end; the second gets a little.
    """
    policies = ((os.SCHED_IDLE, limits.seconds * _FIRST_TRY), (os.SCHED_BATCH, limits.seconds))
    for policy, seconds in policies:
        reason = _try_once(
            path, version, replace(limits, seconds=seconds), answers, folder, load, policy
        )
        if reason is not None:
            return reason
    return f"not loaded within {limits.seconds:g} s"


def _try_once(
    path: Path,
    version: int,
    limits: Limits,
    answers: socket.socket,
    folder: Path,
    load: Load,
    policy: int,
) -> str | None:
    """One try under a scheduling policy; None if it came to no end in time."""
    theirs, ours = os.pipe()
    me = os.getpid()
    shared = psutil.Process().memory_info().rss
    pid = os.fork()
    if not pid:
        try:
            os.close(theirs)
            answers.close()
            _load(me, ours, path, version, folder, load, policy)
        finally:
            os._exit(1)
    os.close(ours)
    with MemoryWatch(pid, shared + limits.memory_bytes) as watch:
        # Readable: it said something, it ended, or the server asks no more.
        ready, _, _ = select.select([theirs, answers], [], [], limits.seconds)
        said = os.read(theirs, _MAX_BYTES) if theirs in ready else b""
    os.close(theirs)
    kill_tree(pid)
    _, status = os.waitpid(pid, 0)
    if watch.is_exceeded:
        taken = max(watch.peak_bytes - shared, 0) / 1e6
        return (
            f"loading it takes more than {limits.memory_bytes / 1e6:.0f} MB of memory; its trial "
            f"was ended at {taken:.0f} MB"
        )
    if said:
        return "" if said == _FINE else said.decode(errors="replace")
    if not ready:
        return None
    code = os.waitstatus_to_exitcode(status)
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return f"loading it ended the process {how}" + (
        "; memory may have run out" if code == -signal.SIGKILL else ""
    )


def _load(
    parent: int, answers: int, path: Path, version: int, folder: Path, load: Load, policy: int
) -> NoReturn:
    """Loads the version, in its own process."""
    _end_with(parent)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")
    os.nice(_NICE)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, policy, os.sched_param(0))
    tempfile.tempdir = str(folder)
    # A TensorFlow with GPUs takes all of their memory, which the server has already.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    logging.disable()  # the server is going to say the same, or the reason
    try:
        load(path, version)
        said = _FINE
    except BaseException as error:
        said = _text_of(error).encode(errors="replace")[:_MAX_REASON]
    os.write(answers, said)
    os._exit(0)


def _text_of(error: BaseException) -> str:
    return str(error) if isinstance(error, LoadError) else f"{type(error).__name__}: {error}"


def _end_with(parent: int) -> None:
    """Has this process end with the one that forked it, whatever ends that."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
