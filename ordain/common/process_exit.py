"""The quick way out of a process in which TensorFlow and gRPC run."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

#: Modules that AutoGraph writes into the folder for temporary files, to be removed at the
#: interpreter's end.
_AUTOGRAPH = "__autograph_generated_file"

_last: list[Callable[[], None]] = []


def before_leaving(action: Callable[[], None]) -> None:
    """Has something short done at the end of this process, by `leave` or in the usual way."""
    _last.append(action)
    atexit.register(action)


def leave(exit_code: int) -> NoReturn:
    """Ends this process without tearing TensorFlow and gRPC down, which takes seconds.

    Nothing may be left to save. What libraries registered with `atexit` is not done: some of it
    waits for processes and threads that have no reason to end. What `before_leaving` was given is.

    Args:
        exit_code: The process's exit code.
    """
    for action in _last:
        with contextlib.suppress(Exception):  # the code is still due
            action()
    for name, module in list(sys.modules.items()):
        if name.startswith(_AUTOGRAPH) and module.__file__:
            with contextlib.suppress(OSError):  # gone, or not to be removed; the code is still due
                Path(module.__file__).unlink()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody reads any more
            stream.flush()
    os._exit(exit_code)
