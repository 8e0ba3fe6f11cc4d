"""Fast exit of a process that has loaded TensorFlow or gRPC."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

#: Prefix of modules that AutoGraph writes into the folder for temporary files, and removes at the
#: interpreter's exit.
_AUTOGRAPH = "__autograph_generated_file"

_actions: list[Callable[[], None]] = []


def before_exit(action: Callable[[], None]) -> None:
    """Registers a short action for the end of this process, by `exit_process` or otherwise."""
    _actions.append(action)
    atexit.register(action)


def exit_process(exit_code: int) -> NoReturn:
    """Ends this process without the teardown of TensorFlow and gRPC, which takes seconds.

    Everything has to be saved before. Actions of `before_exit` are run; those that libraries
    registered with `atexit` are not, as some wait for processes and threads that do not end.

    Args:
        exit_code: The process's exit code.
    """
    for action in _actions:
        with contextlib.suppress(Exception):  # the exit code matters more
            action()
    for name, module in list(sys.modules.items()):
        if name.startswith(_AUTOGRAPH) and module.__file__:
            with contextlib.suppress(OSError):  # deleted already, or not permitted
                Path(module.__file__).unlink()
            compiled = Path(module.__cached__ or "")
            with contextlib.suppress(OSError):  # not written, or others are in the folder
                compiled.unlink()
                compiled.parent.rmdir()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # the reader is gone
            stream.flush()
    os._exit(exit_code)
