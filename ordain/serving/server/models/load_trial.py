"""Trial load of a version in a separate process, so that a bad version cannot harm the server.

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
import signal
import socket
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import psutil

from ordain.serving.sandbox.process import MemoryWatch, kill_tree
from ordain.serving.server.models.loaded_model import LoadedModel
from ordain.serving.server.models.signature_defs import LoadError
from ordain.serving.server.settings import Settings

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
_SERVABLE = b"\0"


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

    async def find_fault(self, folder: Path, version: int, settings: Settings) -> str:
        """Loads a version in a trial process; cancellation ends the process.

        Args:
            folder: The version's folder.
            version: Its number.
            settings: Limit the time of the load, and its memory beyond that of the imported
                modules.

        Returns:
            Why it cannot be served, or an empty string.
        """
        ours, theirs = socket.socketpair()
        try:
            limits = settings.load_timeout_s, settings.load_memory_bytes
            request = json.dumps([str(folder), version, *limits]).encode()
            socket.send_fds(self._ours, [request], [theirs.fileno()])
        except OSError as error:
            ours.close()
            return f"the trial process has died ({error}): restart the server"
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            async with asyncio.timeout(settings.load_timeout_s * (1 + _FIRST_TRY) + _GRACE_S):
                result = await reader.read(_MAX_BYTES)
        except (TimeoutError, OSError):
            result = b""
        finally:
            writer.close()
        if result == _SERVABLE:
            return ""
        return result.decode(errors="replace") or "the trial load gave no result"


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


def _supervise(parent: int, request: bytes, results: socket.socket, load: Load) -> NoReturn:
    """Runs the trial of one version under its limits, and sends the result."""
    _end_with(parent)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        folder, version, seconds, memory_bytes = json.loads(request)
        with tempfile.TemporaryDirectory(prefix="ordain-load-", ignore_cleanup_errors=True) as tmp:
            start = partial(_load, os.getpid(), partial(load, Path(folder), version), tmp)
            reason = _try(start, seconds, memory_bytes, results)
    except BaseException as error:
        reason = f"the trial load failed: {_text_of(error)}"
    with contextlib.suppress(OSError):  # the server no longer waits
        results.sendall(reason.encode(errors="replace")[:_MAX_REASON] or _SERVABLE)
    os._exit(0)


#: Loads the version under a scheduling policy, and writes the result to a descriptor.
_Start = Callable[[int, int], NoReturn]


def _try(start: _Start, seconds: float, memory_bytes: int, results: socket.socket) -> str:
    """Loads a version in a further process; returns why it cannot be served, or an empty string.

    The first attempt uses idle processor time only, so that it does not slow requests. On a machine
    that is never idle it does not finish; the second attempt runs at low priority.
    """
    for policy, share in ((os.SCHED_IDLE, _FIRST_TRY), (os.SCHED_BATCH, 1.0)):
        reason = _try_once(partial(start, policy), seconds * share, memory_bytes, results)
        if reason is not None:
            return reason
    return f"loading timed out after {seconds:g} s"


def _try_once(
    start: Callable[[int], NoReturn], seconds: float, memory_bytes: int, results: socket.socket
) -> str | None:
    """One attempt; None if it did not finish in time."""
    theirs, ours = os.pipe()
    shared = psutil.Process().memory_info().rss
    pid = os.fork()
    if not pid:
        try:
            os.close(theirs)
            results.close()
            start(ours)
        finally:
            os._exit(1)
    os.close(ours)
    with MemoryWatch(pid, shared + memory_bytes) as watch:
        # Readable: a result, its end, or the server no longer waits.
        ready, _, _ = select.select([theirs, results], [], [], seconds)
        output = os.read(theirs, _MAX_BYTES) if theirs in ready else b""
    os.close(theirs)
    kill_tree(pid)
    _, status = os.waitpid(pid, 0)
    if watch.is_exceeded:
        taken = max(watch.peak_bytes - shared, 0) / 1e6
        return (
            f"loading it takes more than {memory_bytes / 1e6:.0f} MB of memory; killed at "
            f"{taken:.0f} MB"
        )
    if output:
        return "" if output == _SERVABLE else output.decode(errors="replace")
    if not ready:
        return None
    code = os.waitstatus_to_exitcode(status)
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return f"loading it ended the process {how}" + (
        "; memory may have run out" if code == -signal.SIGKILL else ""
    )


def _load(
    parent: int, load: Callable[[], object], folder: str, policy: int, results: int
) -> NoReturn:
    """Loads the version, in its own process, with a folder for its temporary files."""
    _end_with(parent)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
    os.nice(_NICE)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, policy, os.sched_param(0))
    tempfile.tempdir = folder
    # TensorFlow would claim all GPU memory, which the server holds already.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    logging.disable()  # the server logs the same, or the reason
    try:
        load()
        output = _SERVABLE
    except BaseException as error:
        output = _text_of(error).encode(errors="replace")[:_MAX_REASON]
    os.write(results, output)
    os._exit(0)


def _text_of(error: BaseException) -> str:
    return str(error) if isinstance(error, LoadError) else f"{type(error).__name__}: {error}"


def _end_with(parent: int) -> None:
    """Makes the kernel kill this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the line above
        os._exit(1)
