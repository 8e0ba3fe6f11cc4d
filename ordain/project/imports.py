"""Imports of a project's own modules: from its folder, and as they are now.

A process may run several projects, or one project several times with edits in between, as a
notebook does. Python imports a module of a name once. The old code would run again, or another
project's, and what it made would be stored under the cache key of the new source.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

#: Folders of installed packages.
_INSTALLED = ("site-packages", "dist-packages")
_STDLIB = sysconfig.get_path("stdlib") + "/"
#: The program, which may lie in the folder, and this package.
_KEPT = ("__main__", "ordain")
#: TFX keeps its names for the modules that it loaded by file, and reloads these itself.
_TFX_PREFIX = "user_module_"

_lock = threading.RLock()
#: Folders that are first on the path now; changed while the lock is held.
_active: list[Path] = []
log = logging.getLogger(__name__)


@contextlib.contextmanager
def project_on_path(folder: Path) -> Iterator[None]:
    """Imports modules from a project's folder first, each anew.

    Modules of these names that are loaded already are hidden while the body runs, and those that
    the body imported are forgotten afterwards. One thread at a time: others wait, as `sys.path` and
    `sys.modules` belong to the process.

    Args:
        folder: The project's folder.
    """
    if not _lock.acquire(blocking=False):
        log.warning("%s waits for another project that runs in this process", folder)
        _lock.acquire()
    try:
        # Entered again, it imports nothing anew: a run keeps the code that it began with.
        with contextlib.nullcontext() if folder in _active else _first_on_path(folder):
            yield
    finally:
        _lock.release()


@contextlib.contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    names = _top_level_names(folder)
    hidden = {name: sys.modules.pop(name) for name in _loaded(folder, names)}
    sys.path.insert(0, str(folder))
    _active.append(folder)
    try:
        yield
    finally:
        _active.remove(folder)
        with contextlib.suppress(ValueError):  # a module may have changed it
            sys.path.remove(str(folder))
        for name in _loaded(folder, names):
            del sys.modules[name]
        sys.modules.update(hidden)


def _top_level_names(folder: Path) -> set[str]:
    """Names that can be imported from a folder."""
    modules = {path.stem for path in folder.glob("*.py")}
    return modules | {path.parent.name for path in folder.glob("*/*.py")}


def _loaded(folder: Path, names: set[str]) -> list[str]:
    """Names of loaded modules that lie in a folder, or that modules of the folder would replace."""
    found = []
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        place = _place(module)
        if top in _KEPT or top.startswith(_TFX_PREFIX) or place is None or _is_installed(place):
            continue
        if top in names or Path(place).resolve().is_relative_to(folder.resolve()):
            found.append(name)
    return found


def _place(module: ModuleType) -> str | None:
    """A module's file, or the folder of a namespace package; None if it has none."""
    spec = getattr(module, "__spec__", None)
    if spec is None:
        return None
    if spec.has_location:
        return str(spec.origin)
    return next(iter(spec.submodule_search_locations or ()), None)


def _is_installed(place: str) -> bool:
    return place.startswith(_STDLIB) or any(f"/{name}/" in place for name in _INSTALLED)
