"""Runs one attempt of a task as a process group with a log.

A container ends with its first process. Here remaining processes are found by their process group
or, if they started a new session, by the pod's name in their environment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import psutil

from ordain.kubeflow.simulator.pod import POD_NAME, Pod
from ordain.kubeflow.simulator.secret_values import Masker

#: A shell's exit codes for a program that is missing or cannot be executed.
NOT_FOUND, NOT_EXECUTABLE = 127, 126
_READ_BYTES = 64 * 1024


class Attempt:
    """A running attempt.

    Args:
        pod: What to run.
        masker: Masks secrets in its log.
        watched: Texts to look for in its output, for injections.
    """

    def __init__(self, pod: Pod, masker: Masker, watched: Sequence[str] = ()) -> None:
        self._pod = pod.name
        self._masker = masker
        self._watched = tuple(text.encode() for text in watched)
        self._seen: set[str] = set()
        self._exit_code: int | None = None
        self.began = time.monotonic()
        self._log = pod.log.open("wb")
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(  # noqa: S603  runs the command of the file
                _resolved(pod.command),
                env=pod.environment,
                cwd=pod.work,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            is_missing = isinstance(error, FileNotFoundError)
            self._exit_code = NOT_FOUND if is_missing else NOT_EXECUTABLE
            self._log.write(masker.mask(f"{pod.command[0]} cannot be started: {error}\n").encode())
            self._log.close()
            return
        assert self._process.stdout is not None  # noqa: S101  PIPE above
        self._reader = threading.Thread(
            target=self._copy, args=(self._process.stdout,), daemon=True, name=f"log of {self._pod}"
        )
        self._reader.start()

    @property
    def seconds(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.began

    def has_printed(self, text: str) -> bool:
        """Returns true if a watched text has been printed."""
        return text in self._seen

    def poll(self) -> int | None:
        """The exit code of a container (128 + signal), or None while it runs."""
        if self._exit_code is None and self._process is not None:
            code = self._process.poll()
            if code is not None:
                self._exit_code = 128 - code if code < 0 else code
                self._clean_up()
        return self._exit_code

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the whole group."""
        if self._process is not None and self._exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """Kills it with all its processes and waits for their end."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        self.poll()

    def _clean_up(self) -> None:
        """Kills remaining processes and closes the log."""
        assert self._process is not None  # noqa: S101  only a started one ends
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        end_marked(self._pod)
        # No process is left that could hold the pipe open.
        self._reader.join(timeout=10)

    def _copy(self, stream: IO[bytes]) -> None:
        """Writes the log as output arrives, secrets masked."""
        rest, before = b"", b""
        with self._log:
            while chunk := os.read(stream.fileno(), _READ_BYTES):
                self._watch(before + chunk)
                before = (before + chunk)[-1024:]
                ready, rest = self._masker.split(rest + chunk)
                self._log.write(ready)
                self._log.flush()
            self._log.write(self._masker.mask_bytes(rest))
        stream.close()

    def _watch(self, data: bytes) -> None:
        for text in self._watched:
            if text in data:
                self._seen.add(text.decode())


def end_marked(pod: str) -> None:
    """Kills every process with a pod's name in its environment."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(POD_NAME) == pod:
                process.kill()
                process.wait(timeout=5)


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log.

    Args:
        log: The file.
        count: Maximum number of lines.
    """
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16 * 1024))
        return file.read().decode(errors="replace").splitlines()[-count:]
    return []


def _resolved(command: Sequence[str]) -> list[str]:
    """The command, with `python` replaced by this interpreter."""
    is_python = command[0] in ("python", "python3")
    return [sys.executable if is_python else command[0], *command[1:]]
