"""One log file per node: everything TFX, TensorFlow, Beam and the project print goes there.

C++ code writes to file descriptors 1 and 2 directly, so those are redirected, not just Python's
streams. Whoever draws on the console keeps its own copy of descriptor 1 (`console_stream`). In a
pod nothing is redirected: its streams are its log, and the file has what was logged as well.
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
    """A stream to today's standard output that later redirection does not touch."""
    return os.fdopen(os.dup(descriptor), "w", buffering=1, encoding="utf-8", errors="replace")


@contextlib.contextmanager
def node_log(path: Path) -> Iterator[None]:
    """Sends everything printed and logged inside to a file, appending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with path.open("a", encoding="utf-8", errors="replace") as file:
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter(_FORMAT))
        root.handlers[:] = [handler]
        root.setLevel(logging.INFO)
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
                root.handlers[:] = before[0]
                root.setLevel(before[1])


@contextlib.contextmanager
def copied_log(path: Path) -> Iterator[None]:
    """Sends what is logged inside to standard error and to a file, appending.

    What is printed, by C++ code too, goes where it always goes: a process that is killed loses
    nothing of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    with path.open("a", encoding="utf-8", errors="replace") as file:
        root.handlers[:] = [logging.StreamHandler(file), logging.StreamHandler(sys.stderr)]
        for handler in root.handlers:
            handler.setFormatter(logging.Formatter(_FORMAT))
        root.setLevel(logging.INFO)
        try:
            yield
        finally:
            root.handlers[:] = before[0]
            root.setLevel(before[1])
