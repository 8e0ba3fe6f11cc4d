"""TensorFlow 2.21: its import, without Keras or without notices on standard error.

- `hide_keras`: TensorFlow imports Keras for `tf.keras`, and Keras imports SciPy, scikit-learn and
  pandas: a third of a server's start and 150 MB of its memory (Keras 3.15). To TensorFlow, Keras is
  optional, and a server that runs SavedModels does not use it.
- `quiet_tensorflow`: its C++ code writes notices about oneDNN and CUDA to descriptor 2 before its
  log settings apply, in front of the commands' errors. Only these lines are dropped, and only
  during the import; all others come through, also if the import ends the process.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_MODULE = "tensorflow"
#: TensorFlow tries them in this order.
_KERAS = ("keras", "tf_keras")
#: Copies standard input to standard error line by line, without absl's notices and warnings.
_FILTER = r"""
import re, sys
notice = re.compile(rb"[IW]\d{4} \d\d:\d\d:|WARNING: All log messages before absl::InitializeLog")
for line in sys.stdin.buffer:
    if not notice.match(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


def hide_keras() -> None:
    """Makes Keras unimportable in this process; does nothing after TensorFlow was imported."""
    if _MODULE in sys.modules:
        return
    for name in _KERAS:
        # None marks a module that cannot be imported.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def quiet_tensorflow() -> None:
    """Reduces TensorFlow's log output; does nothing after TensorFlow was imported."""
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Below 2 the user wants notices; without a standard error nothing is written.
    if level not in ("0", "1") and sys.stderr is not None and _MODULE not in sys.modules:
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds TensorFlow once, with a loader that filters its output."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        sys.meta_path.remove(self)
        # In another thread descriptor 2 must stay: the main thread may redirect it to a log.
        if threading.current_thread() is not threading.main_thread():
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Wraps the module's own loader, which stays the one in its spec."""

    def __init__(self, own: Loader) -> None:
        self._own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None  # noqa: S101  the import system has set it
        module.__spec__.loader = module.__loader__ = self._own
        with _filtered():
            self._own.exec_module(module)


@contextlib.contextmanager
def _filtered() -> Iterator[None]:
    """Send descriptor 2 through a child process that drops notices, until the block ends."""
    sys.stderr.flush()
    reader, writer = os.pipe()
    try:
        # In its own process group, so that Ctrl-C reaches only us; it ends when all writers close.
        child = subprocess.Popen(  # noqa: S603  our own interpreter
            [sys.executable, "-I", "-S", "-c", _FILTER],
            stdin=reader,
            stdout=subprocess.DEVNULL,
            process_group=0,
        )
    except OSError:  # the process cannot be started: do not filter
        os.close(reader)
        os.close(writer)
        yield
        return
    os.close(reader)
    before = os.dup(2)
    os.dup2(writer, 2)
    os.close(writer)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)
        child.wait()
