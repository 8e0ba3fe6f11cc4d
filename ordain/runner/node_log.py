"""Log files of nodes, with everything that TFX, TensorFlow, Beam and the project print.

C++ code writes to file descriptors 1 and 2 directly, so these are redirected, not only Python's
streams. Code that writes to the console keeps its own copy of descriptor 1 (`console_stream`). In a
pod nothing is redirected: its streams are its log, and log records are copied to the file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

_FORMAT = "%(asctime)s %(levelname).1s %(name)s: %(message)s"


def console_stream(descriptor: int = 1) -> TextIO:
    """Returns a stream to the current standard output that later redirection does not change."""
    return os.fdopen(os.dup(descriptor), "w", buffering=1, encoding="utf-8", errors="replace")


@contextlib.contextmanager
def node_log(path: Path) -> Iterator[None]:
    """Appends everything that is printed and logged while entered to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with _opened(path) as file, _logging_to(file):
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:  # a full disk must not leave the console redirected
                for target, copy in zip((1, 2), saved, strict=True):
                    os.dup2(copy, target)
                    os.close(copy)


@contextlib.contextmanager
def copied_log(path: Path) -> Iterator[None]:
    """Appends what is logged while entered to a file, and writes it to standard error.

    Printed output, also of C++ code, is not redirected, so a killed process loses none of it.
    """
    with _opened(path) as file, _logging_to(file, sys.stderr):
        yield


def _opened(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a", encoding="utf-8", errors="replace")


@contextlib.contextmanager
def _logging_to(*streams: TextIO) -> Iterator[None]:
    """Sends all log records of this process from level INFO to these streams only."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    root.handlers[:] = [logging.StreamHandler(stream) for stream in streams]
    for handler in root.handlers:
        handler.setFormatter(logging.Formatter(_FORMAT))
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)
