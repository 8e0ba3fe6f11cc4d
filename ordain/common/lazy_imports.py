"""Libraries that are imported when they are used, not when they are named.

TFX's launcher imports every component TFX has, and with them Kubernetes, MongoDB, IPython and all
of TensorFlow: 14 s of processor time before a run can say that all its nodes are cached. What is
named here costs nothing until somebody asks it for something.

- A *deferred* module is in `sys.modules` at once, and is executed at the first use of one of its
  names. Its submodules can be imported without it.
- An *absent* module cannot be imported while `frameworks()` is open. Those who import it then do
  without it: each import of it stands in a `try` there.

The costs are those of `python -X importtime -c "import tfx.v1"`.
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

#: A module is deferred as a whole; `docker` and `tfx.components` import what a run does not use.
DEFERRED = (
    "IPython",
    "docker",
    "nltk",
    "tensorflow",
    "tensorflow_model_analysis",
    "tfx.components",
    "tqdm.notebook",
)
#: Beam's MongoDB and InfraValidator's cluster, which Beam and TFX take for optional.
ABSENT = ("bson", "kubernetes", "pymongo")
#: What of a deferred package can be had without executing the package: protobufs and plain Python
#: that TFX's launcher asks for. Any other submodule may count on what the package did before.
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
#: What the import system asks a module for; that is no use of it.
_OF_THE_IMPORT_SYSTEM = frozenset(
    {"__class__", "__dict__", "__file__", "__loader__", "__name__", "__package__", "__path__"}
    | {"__spec__", "__cached__"}
)


@contextlib.contextmanager
def frameworks() -> Iterator[None]:
    """Around the first import of TensorFlow, Beam and TFX in a process; later ones change nothing.

    The garbage collector rests meanwhile: it would walk the growing heap again and again for next
    to nothing, a fifth of the whole time.
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
    """Defers what is not imported yet, for the rest of the process."""
    if not any(isinstance(finder, _Deferring) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Deferring())


class _Absent(importlib.abc.MetaPathFinder):
    """Finds `ABSENT` to be not installed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(
                f"{name} is left out: ordain/common/lazy_imports.py", name=name
            )


class _Deferring(importlib.abc.MetaPathFinder):
    """Finds `DEFERRED`, and gives them a loader that waits."""

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
            spec.loader = _Waiting(spec.loader)
        return spec


def _is_free(name: str) -> bool:
    return name in FREE or any(f"{name}.".startswith(f"{free}.") for free in FREE_WITH_ALL_BELOW)


class _Waiting(importlib.abc.Loader):
    """Makes a module that is executed at its first use."""

    def __init__(self, loader: importlib.machinery.SourceFileLoader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Deferred(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        spec: Any = module.__spec__
        module.__loader__ = spec.loader = self._loader
        spec.loader_state = _State()


class _Deferred(ModuleType):
    """A module that waits for its first use.

    Whoever asks while another thread executes it waits; the executing thread itself sees what
    there is so far, as with any import.
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
    """Executes a module that waits; any other is left alone."""
    if type(module) is not _Deferred:
        return
    spec: Any = module.__spec__
    state: _State = spec.loader_state
    with state.lock:
        if state.is_begun:  # by this very thread
            return
        state.is_begun = True
        spec.loader.exec_module(module)
        module.__class__ = ModuleType  # type: ignore[assignment]


@dataclass
class _State:
    """How far the execution of a deferred module is."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    is_begun: bool = False
