"""Deferred imports of large libraries: they are executed at their first use.

TFX's launcher imports every component of TFX, and with them Kubernetes, MongoDB, IPython and all of
TensorFlow: 14 s of processor time (`python -X importtime -c "import tfx.v1"`) before a run can
report that all its nodes are cached.

- A *deferred* module is in `sys.modules` at once, and is executed when one of its names is first
  used. Its free submodules can be imported without executing it.
- An *absent* module cannot be imported inside `frameworks()`. Whoever imports it there does so in a
  `try`, and works without it.

`importlib.util.LazyLoader` does not do: it executes a package to import any of its submodules.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

#: Deferred as a whole; `docker` and `tfx.components` import what a run does not use.
DEFERRED = (
    "IPython",
    "docker",
    "nltk",
    "tensorflow",
    "tensorflow_model_analysis",
    "tfx.components",
    "tqdm.notebook",
)
#: Needed by Beam for MongoDB and by InfraValidator for a cluster; optional in Beam and TFX.
ABSENT = ("bson", "kubernetes", "pymongo")
#: Submodules that do not need their deferred package: protobufs and plain Python, imported by TFX's
#: launcher. Any other submodule may rely on the package's own code.
FREE = (
    "tensorflow_model_analysis.constants",
    "tensorflow_model_analysis.sdk",
    "tensorflow_model_analysis.version",
    "tfx.components.evaluator",
    "tfx.components.evaluator.constants",
    "tfx.components.example_gen",
    "tfx.components.example_gen.driver",
    "tfx.components.example_gen.input_processor",
    "tfx.components.example_gen.utils",
)
FREE_WITH_ALL_BELOW = (
    "tensorflow.compiler",
    "tensorflow.core",
    "tensorflow.tools",
    "tensorflow_model_analysis.proto",
)
#: Read by the import system; not a use of the module.
_OF_THE_IMPORT_SYSTEM = frozenset(
    {"__class__", "__dict__", "__file__", "__loader__", "__name__", "__package__", "__path__"}
    | {"__spec__", "__cached__"}
)


@contextlib.contextmanager
def frameworks() -> Iterator[None]:
    """Encloses the first import of TensorFlow, Beam and TFX in a process.

    The garbage collector is off meanwhile: it would take a fifth of the time, and free next to
    nothing.
    """
    defer()
    hidden = _Absent()
    was_enabled = gc.isenabled()
    gc.disable()
    sys.meta_path.insert(0, hidden)
    try:
        yield
    finally:
        sys.meta_path.remove(hidden)
        if was_enabled:
            gc.enable()


def defer() -> None:
    """Defers `DEFERRED` modules that are not imported yet, for the rest of the process."""
    if not any(isinstance(finder, _Deferring) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Deferring())


class _Absent(importlib.abc.MetaPathFinder):
    """Reports the modules in `ABSENT` as not installed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(
                f"{name} is left out: ordain/upstream/lazy_imports.py", name=name
            )


class _Deferring(importlib.abc.MetaPathFinder):
    """Finds the modules in `DEFERRED`, and gives them a deferring loader."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in DEFERRED:
            for package in DEFERRED:
                if name.startswith(f"{package}.") and not _is_free(name):
                    _execute(sys.modules.get(package))
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _DeferringLoader(spec.loader)
        return spec


def _is_free(name: str) -> bool:
    return name in FREE or any(f"{name}.".startswith(f"{free}.") for free in FREE_WITH_ALL_BELOW)


class _DeferringLoader(importlib.abc.Loader):
    """Creates a module that is executed at its first use."""

    def __init__(self, loader: importlib.machinery.SourceFileLoader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Deferred(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        spec: Any = module.__spec__
        module.__loader__ = spec.loader = self._loader
        spec.loader_state = _State()


class _Deferred(ModuleType):
    """A module that is executed when one of its names is first used.

    Other threads wait while it is executed; the executing thread sees the names defined so far, as
    with any import.
    """

    def __getattribute__(self, name: str) -> Any:
        if name not in _OF_THE_IMPORT_SYSTEM:
            known = ModuleType.__getattribute__(self, "__dict__")
            if name not in known:
                below = f"{known['__name__']}.{name}"
                if _is_free(below):
                    importlib.import_module(below)
                else:
                    _execute(self)
        return ModuleType.__getattribute__(self, name)


def _execute(module: ModuleType | None) -> None:
    """Executes a deferred module; does nothing for any other."""
    if type(module) is not _Deferred:
        return
    spec: Any = module.__spec__
    state: _State = spec.loader_state
    with state.lock:
        if state.is_begun:  # by this thread
            return
        state.is_begun = True
        spec.loader.exec_module(module)
        module.__class__ = ModuleType  # type: ignore[assignment]


@dataclass
class _State:
    """Progress of a deferred module's execution."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    is_begun: bool = False
