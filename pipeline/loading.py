"""From files, overlays and `--set` to a `Project`, with errors a person can act on.

Order, later wins: `pipeline.yaml`, `pipeline.<env>.yaml`, `--set key.path=value`. Then
`${env:NAME}` is replaced from the environment (`contracts.references`).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from contracts.errors import ConfigError
from contracts.references import resolve_references
from pipeline.config import Project

MAIN_FILE = "pipeline.yaml"
#: A configuration is read by people; anything larger is a mistake (or an attack on the parser).
MAX_BYTES = 1_000_000


def load_project(
    folder: str | Path, env: str | None = None, settings: Iterable[str] = ()
) -> Project:
    """Loads a project.

    Args:
        folder: The folder that holds `pipeline.yaml`, or that file itself.
        env: Name of an overlay: `prod` reads `pipeline.prod.yaml` on top.
        settings: `a.b=value` texts, applied last; values are YAML.

    Returns:
        The project, with absolute paths and references resolved.

    Raises:
        ConfigError: Naming the file and the key, what it got and what is allowed.
    """
    raw, root = read_effective(folder, env, settings)
    # A pass phrase is looked up by whoever signs; a machine that only serves does not have it.
    password = _take_password(raw)
    # So is whom to notify, and with what: a webhook's address is often a secret as a whole.
    notify = raw.pop("notify", None)
    # A database's password is looked up by whoever connects.
    metadata = raw.pop("metadata", None)
    resolved = resolve_references(raw, str(root / MAIN_FILE))
    if metadata is not None:
        resolved["metadata"] = metadata
    if password is not None:
        raw["push"]["signing"]["password"] = password
        resolved["push"]["signing"]["password"] = password
    if notify is not None:
        resolved["notify"] = notify
    # Training parameters are kept in ML Metadata, so their references stay references until the
    # trainer uses them; here they were only checked.
    if isinstance(resolved.get("train"), dict) and "parameters" in resolved["train"]:
        resolved["train"]["parameters"] = raw["train"]["parameters"]
    return _validate(resolved, root, env)


def _take_password(raw: dict[str, Any]) -> Any:
    """Takes the signing key's pass phrase out of the configuration."""
    push = raw.get("push")
    signing = push.get("signing") if isinstance(push, dict) else None
    return signing.pop("password", None) if isinstance(signing, dict) else None


def read_effective(
    folder: str | Path, env: str | None = None, settings: Iterable[str] = ()
) -> tuple[dict[str, Any], Path]:
    """The merged configuration, references unresolved: safe to write to a file or a log."""
    root = Path(folder).expanduser()
    if root.name == MAIN_FILE and root.is_file():
        root = root.parent
    root = root.resolve()
    if not (root / MAIN_FILE).is_file():
        raise ConfigError(
            f"{folder} is not a project: it holds no {MAIN_FILE}",
            "name a folder such as examples/flights",
        )
    raw = _read(root / MAIN_FILE)
    if env is not None:
        overlay = root / f"pipeline.{env}.yaml"
        if not overlay.is_file():
            found = [p.name.split(".")[1] for p in sorted(root.glob("pipeline.*.yaml"))]
            raise ConfigError(
                f"--env {env}: there is no {overlay}",
                f"environments here: {', '.join(found) or 'none'}",
            )
        raw = _merge(raw, _read(overlay))
    for setting in settings:
        _apply(raw, setting)
    return raw, root


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_BYTES} bytes; it should hold settings")
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{path}{where}: not valid YAML: {problem}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold keys and values, not {type(raw).__name__}")
    return raw


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged key by key; everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _apply(raw: dict[str, Any], setting: str) -> None:
    key, separator, text = setting.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise ConfigError(
            f"--set {setting}: expected key.path=value",
            "for example --set train.steps=500",
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {setting}: the value is not valid YAML") from error
    here = raw
    for part in parts[:-1]:
        below = here.get(part)
        if below is None:
            below = here[part] = {}
        if not isinstance(below, dict):
            raise ConfigError(f"--set {setting}: {part} holds a value, not further keys")
        # A copy: with YAML's anchors another key may hold the same mapping.
        below = here[part] = dict(below)
        here = below
    here[parts[-1]] = value


def _validate(raw: dict[str, Any], root: Path, env: str | None) -> Project:
    filled = dict(raw)
    for reserved in ("folder", "environment"):
        if reserved in filled:
            raise ConfigError(f"{root / MAIN_FILE}: unknown key {reserved!r}")
    filled |= {"folder": root, "environment": env}
    filled.setdefault("workspace", str(_default_workspace(root)))
    filled.setdefault("metadata", str(Path(str(filled["workspace"])) / "metadata.sqlite"))
    try:
        project = Project.model_validate(filled)
    except ValidationError as error:
        lines = [_explain(detail, root / MAIN_FILE) for detail in error.errors()]
        raise ConfigError("\n".join(lines), f"see docs/configuration.md; file {root}") from error
    return _with_absolute_paths(project)


def _default_workspace(root: Path) -> Path:
    """`var/` at the root of the repository that holds the project, else in the project."""
    for folder in (root, *root.parents):
        if (folder / ".git").exists():
            return folder / "var"
    return root / "var"


def _with_absolute_paths(project: Project) -> Project:
    def absolute(path: Path) -> Path:
        return Path(os.path.normpath(project.folder / path.expanduser()))

    push = project.push
    if push.directory is not None and not project.is_pushed_away:
        push = push.model_copy(update={"directory": str(absolute(Path(push.directory)))})
    if push.signing is not None:
        private = push.signing.private_key
        keys = {
            "public_key": absolute(push.signing.public_key),
            "private_key": None if private is None else absolute(private),
        }
        push = push.model_copy(update={"signing": push.signing.model_copy(update=keys)})
    return project.model_copy(
        update={
            "push": push,
            "workspace": absolute(project.workspace),
            "metadata": absolute(project.metadata)
            if isinstance(project.metadata, Path)
            else project.metadata,
            "schema_file": absolute(project.schema_file),
            "data": project.data.model_copy(update={"path": absolute(project.data.path)}),
            "train": project.train.model_copy(update={"module": absolute(project.train.module)}),
        }
    )


def _explain(detail: Any, path: Path) -> str:
    """One line per problem: file, key, what is wrong, and the nearest name there is."""
    location = [str(part) for part in detail["loc"]]
    key = ".".join(location)
    if detail["type"] == "extra_forbidden":
        known = _known_keys(Project, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else f"; allowed: {', '.join(known)}"
        return f"{path}: unknown key {key!r}{meant}"
    if detail["type"] == "missing":
        return f"{path}: key {key!r} is required"
    problem = detail["msg"].removeprefix("Value error, ")
    got = detail.get("input")
    is_secret = location[-1:] == ["password"] or location[:1] in (["notify"], ["metadata"])
    is_told = got is not None and not is_secret and not isinstance(got, (dict, BaseModel))
    shown = f" (got {got!r:.80})" if is_told else ""
    return f"{path}: {key}: {problem}{shown}"


def _known_keys(model: type[BaseModel], location: list[str]) -> list[str]:
    """Keys allowed at a location, found by walking the models' annotations."""
    here: Any = model
    for part in location:
        here = _step(here, part)
        if here is None:
            return []
    models = [m for m in _models_in(here) if m is not None]
    hidden = {"folder", "environment"}
    return sorted({name for m in models for name in m.model_fields} - hidden)


def _step(annotation: Any, part: str) -> Any:
    for model in _models_in(annotation):
        if part in model.model_fields:
            return model.model_fields[part].annotation
    if get_origin(annotation) in (dict, tuple, list):
        arguments = [a for a in get_args(annotation) if a is not Ellipsis]
        return arguments[-1] if arguments else None
    return annotation  # pydantic also puts the names of union members into the location


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType):
        return [m for a in get_args(annotation) for m in _models_in(a)]
    return []
