"""The quick way out of a process in which TensorFlow and gRPC run."""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn


def leave(exit_code: int) -> NoReturn:
    """Ends this process without tearing TensorFlow and gRPC down, which takes seconds.

    Nothing may be left to save. What libraries registered with `atexit` is done: TensorFlow
    removes the files that AutoGraph wrote into the folder for temporary files.

    Args:
        exit_code: The process's exit code.
    """
    # Public functions register and unregister; only the interpreter's own end calls them.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(exit_code)
