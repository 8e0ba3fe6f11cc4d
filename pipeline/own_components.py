"""Import and fingerprint of the components that a project adds."""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import importlib.machinery
import inspect
import sys
from pathlib import Path
from typing import Any

from ordain.config.own_nodes import OwnNode
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.project.imports import project_on_path
from ordain.project.source import fingerprint, library_versions, source_files

DOCS = "docs/own-nodes.md"


def component_fingerprint(project: Project, own: OwnNode) -> str:
    """SHA-256 of a component's source, for its cache key.

    For a component among the project's source files it is the project's fingerprint; otherwise it
    covers the Python files of its package and the versions of the libraries. A component in another
    place of the project's folder has both.

    Raises:
        ConfigError: There is no such module.
    """
    module, _ = own.module_and_name
    with project_on_path(project.folder):
        root = _root_of(module)
    if root is None:
        raise ConfigError(f"component {own.component}: there is no module {module!r}")
    if {root, root / "__init__.py"} & set(source_files(project.folder)):
        return fingerprint(project.folder)
    if root.is_relative_to(project.folder):  # such as in its `.venv/` or `tests/`
        both = _package_fingerprint(root) + fingerprint(project.folder)
        return hashlib.sha256(both.encode()).hexdigest()
    return _first_fingerprint(root)


def _package_fingerprint(root: Path) -> str:
    versions = [f"{name}=={version}" for name, version in library_versions().items()]
    digest = hashlib.sha256("\n".join(versions).encode())
    for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
        content = path.read_bytes()
        digest.update(f"\n{path.relative_to(root)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


#: A process imports a package outside of the project once: its key is that of the code it runs.
_first_fingerprint = functools.cache(_package_fingerprint)


def _root_of(module: str) -> Path | None:
    """Finds the file, or the folder of the outermost regular package, without importing."""
    importlib.invalidate_caches()
    path = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}".lstrip(".")
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None and path is None:  # an editable install may bring a finder of its own
            specs = (finder.find_spec(name, None) for finder in sys.meta_path)
            spec = next((found for found in specs if found is not None), None)
        if spec is None:
            return None
        if spec.origin is not None:
            file = Path(spec.origin)
            return file.parent if spec.submodule_search_locations is not None else file
        path = spec.submodule_search_locations
    return None


def load_component(key: str, own: OwnNode) -> Any:
    """Imports a component's class."""
    from tfx.dsl.components.base import base_component, executor_spec  # noqa: PLC0415  TFX comes late

    module, name = own.module_and_name
    try:
        loaded = importlib.import_module(module)
        found = getattr(loaded, name, None)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{key}.component {own.component}: importing {module} failed: "
            f"{type(error).__name__}: {error}",
            "correct the module, or install the package that it is in",
        ) from error
    if found is None:
        near = difflib.get_close_matches(name, dir(loaded), n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{key}.component {own.component}: {module} has no {name!r}{meant}")
    if not (inspect.isclass(found) and issubclass(found, base_component.BaseComponent)):
        raise ConfigError(
            f"{key}.component {own.component}: is no TFX component",
            "name a class with SPEC_CLASS and EXECUTOR_SPEC, or put TFX's @component above the "
            f"function; see {DOCS}",
        )
    if not isinstance(found.EXECUTOR_SPEC, executor_spec.ExecutorClassSpec):
        raise ConfigError(
            f"{key}.component {own.component}: runs in a container of its own, which the nodes "
            "of ordain do not",
            "name a component whose executor is a Python class",
        )
    return found


def arguments_of(component: Any) -> list[str]:
    """Names of the arguments of a component's constructor."""
    spec = component.SPEC_CLASS
    given = inspect.signature(component.__init__).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in given):
        return sorted([*spec.INPUTS, *spec.PARAMETERS])
    return [parameter.name for parameter in given if parameter.name != "self"]
