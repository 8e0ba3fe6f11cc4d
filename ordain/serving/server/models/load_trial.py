"""Trial load of a version in a process of its own, so that a bad version cannot harm the server.

A blocked thread cannot be ended, and a process that runs out of memory ends as a whole, so the
first load does not happen in the serving process. `Trials` forks a process before TensorFlow has
made its first thread; that process has everything imported, only forks, and shares its memory with
the server. For each version it forks a supervisor, which forks the process that checks, loads and
warms the version as the server will, and enforces its limits:

    server > forking process > supervisor, one for each version > the version

Each ends with its parent.
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

#: Loads a version, given its folder and number; raises if it cannot be served.
Load = Callable[[Path, int], LoadedModel]

_PR_SET_PDEATHSIG = 1
#: Longest message between the processes.
_MAX_BYTES = 100_000
#: Longest reason for a refusal, in bytes.
_MAX_REASON = 1000
#: The kernel kills a trial first when memory runs out (man 5 proc_pid_oom_score_adj).
_OOM_SCORE = "1000"
#: Gives requests priority on busy processors without starving the load.
_NICE = 10
#: Share of the time limit for the first attempt; the second has all of it.
_FIRST_TRY = 0.25
#: Seconds for the supervising processes to start and to end.
_GRACE_S = 30.0
#: Result for a version that can be served.
_FINE = b"\0"
#: Prefix of the folder for temporary files of a trial.
_FOLDER_PREFIX = "ordain-load-"


@dataclass(frozen=True)
class Limits:
    """Limits on the load of a version.

    Attributes:
        seconds: From the start of its check to the end of its warm-up.
        memory_bytes: Resident memory beyond that of the imported modules.
    """

    seconds: float
    memory_bytes: int


class Trials:
    """The server's handle of the forking process."""

    def __init__(self, load: Load) -> None:
        """Forks; must run in the main thread, before TensorFlow's first operation."""
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server = os.getpid()
        self._pid = os.fork()
        if not self._pid:
            try:
                self._ours.close()
                _fork_forever(server, theirs, load)
            finally:  # the child never returns into the server's code
                os._exit(1)
        theirs.close()

    @property
    def is_alive(self) -> bool:
        """True if the forking process lives."""
        with contextlib.suppress(ChildProcessError):
            return os.waitpid(self._pid, os.WNOHANG) == (0, 0)
        return False

    async def find_fault(self, folder: Path, version: int, limits: Limits) -> str:
        """Loads a version in a trial process; cancellation ends the process.

        Args:
            folder: The version's folder.
            version: Its number.
            limits: Limits of the load.

        Returns:
            Why it cannot be served, or an empty string.
        """
        ours, theirs = socket.socketpair()
        try:
            request = json.dumps([str(folder), version, asdict(limits)]).encode()
            socket.send_fds(self._ours, [request], [theirs.fileno()])
        except OSError as error:
            ours.close()
            return f"the trial process has died ({error}): restart the server"
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
        return answer.decode(errors="replace") or "the trial load gave no result"


def _fork_forever(server: int, requests: socket.socket, load: Load) -> NoReturn:
    """Main loop of the forking process: a supervisor for each request, until the server ends."""
    _end_with(server)
    # Ctrl-C reaches the whole process group; only the server handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are not waited for
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):  # readers of the server's output must see it end with the server
        os.dup2(nothing, descriptor)
    me = os.getpid()
    while True:
        try:
            request, descriptors, *_ = socket.recv_fds(requests, _MAX_BYTES, 1)
        except OSError:
            os._exit(1)
        if not request:
            os._exit(0)
        with contextlib.suppress(BlockingIOError):  # too many processes: no result is a refusal
            if not os.fork():
                requests.close()
                _supervise(me, request, socket.socket(fileno=descriptors[0]), load)
        os.close(descriptors[0])


def _supervise(parent: int, request: bytes, answers: socket.socket, load: Load) -> NoReturn:
    """Runs the trial of one version under its limits, and sends the result."""
    _end_with(parent)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX))
        path, version, raw = json.loads(request)
        reason = _try(Path(path), version, Limits(**raw), answers, folder, load)
        shutil.rmtree(folder, ignore_errors=True)
    except BaseException as error:
        reason = f"the trial load failed: {_text_of(error)}"
    with contextlib.suppress(OSError):  # the server no longer waits
        answers.sendall(reason.encode(errors="replace")[:_MAX_REASON] or _FINE)
    os._exit(0)


def _try(
    path: Path, version: int, limits: Limits, answers: socket.socket, folder: Path, load: Load
) -> str:
    """Loads a version in a further process; returns why it cannot be served, or an empty string.

    The first attempt uses idle processor time only, so that it does not slow requests. On a machine
    that is never idle it does not finish; the second attempt runs at low priority.
    """
    policies = ((os.SCHED_IDLE, limits.seconds * _FIRST_TRY), (os.SCHED_BATCH, limits.seconds))
    for policy, seconds in policies:
        reason = _try_once(
            path, version, replace(limits, seconds=seconds), answers, folder, load, policy
        )
        if reason is not None:
            return reason
    return f"loading timed out after {limits.seconds:g} s"


def _try_once(
    path: Path,
    version: int,
    limits: Limits,
    answers: socket.socket,
    folder: Path,
    load: Load,
    policy: int,
) -> str | None:
    """One attempt under a scheduling policy; None if it did not finish in time."""
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
        # Readable: a result, its end, or the server no longer waits.
        ready, _, _ = select.select([theirs, answers], [], [], limits.seconds)
        output = os.read(theirs, _MAX_BYTES) if theirs in ready else b""
    os.close(theirs)
    kill_tree(pid)
    _, status = os.waitpid(pid, 0)
    if watch.is_exceeded:
        taken = max(watch.peak_bytes - shared, 0) / 1e6
        return (
            f"loading it takes more than {limits.memory_bytes / 1e6:.0f} MB of memory; killed at "
            f"{taken:.0f} MB"
        )
    if output:
        return "" if output == _FINE else output.decode(errors="replace")
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
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
    os.nice(_NICE)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, policy, os.sched_param(0))
    tempfile.tempdir = str(folder)
    # TensorFlow would claim all GPU memory, which the server holds already.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    logging.disable()  # the server logs the same, or the reason
    try:
        load(path, version)
        output = _FINE
    except BaseException as error:
        output = _text_of(error).encode(errors="replace")[:_MAX_REASON]
    os.write(answers, output)
    os._exit(0)


def _text_of(error: BaseException) -> str:
    return str(error) if isinstance(error, LoadError) else f"{type(error).__name__}: {error}"


def _end_with(parent: int) -> None:
    """Makes the kernel kill this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the line above
        os._exit(1)
