"""From files, overlays and `--set` to a `Project`, with errors a person can act on.

Order, later wins: `pipeline.yaml`, `pipeline.<env>.yaml`, `--set key.path=value`. Then
`${env:NAME}` is replaced from the environment (`ordain.common.env_references`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ordain.common.env_references import has_reference, resolve_references
from ordain.config.base import KEEP_REFERENCES
from ordain.config.errors import explain
from ordain.config.project import Project
from ordain.errors import ConfigError

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
    return load_raw(raw, root, env)


def load_raw(
    raw: Mapping[str, Any], folder: str | Path, env: str | None = None, settings: Iterable[str] = ()
) -> Project:
    """Loads a project from a configuration that was read before, as a pod does.

    Args:
        raw: The effective configuration, references unresolved, as `read_effective` gives it.
        folder: The project's folder, which relative paths start from.
        env: Name of the overlay that is in `raw` already.
        settings: `a.b=value` texts, applied last.

    Raises:
        ConfigError: As `load_project`.
    """
    root = Path(folder).resolve()
    raw = with_settings(raw, settings)
    # What is looked up later, by whoever uses it: a pass phrase by who signs, the database's
    # password by who connects, a webhook's address, often a secret as a whole, when it is sent,
    # a server's token when it is asked. A machine that does none of it does not have them.
    kept = {key: raw.pop(key) for key in ("notify", "metadata", "kubeflow") if key in raw}
    push, private = _without_private(raw.get("push"), ("password",))
    if private:
        raw["push"] = push
    resolved = resolve_references(raw, str(root / MAIN_FILE)) | kept
    if private:
        resolved["push"]["signing"] |= private
    # Training parameters are kept in ML Metadata, so their references stay references until the
    # trainer uses them; here they were only checked.
    if isinstance(resolved.get("train"), dict) and "parameters" in resolved["train"]:
        resolved["train"]["parameters"] = raw["train"]["parameters"]
    return _validate(resolved, root, env)


def load_unresolved(
    folder: str | Path, env: str | None = None, settings: Iterable[str] = ()
) -> Project:
    """Loads a project without looking at the environment, as a compiler does.

    A text with a reference `${env:NAME}` stays that text, also where the key is a number or a
    path: what is returned tells the chain's shape, and cannot be run.

    Raises:
        ConfigError: As `load_project`; what a reference stands for is not checked.
    """
    raw, root = read_effective(folder, env, settings)
    return _validate(raw, root, env, {KEEP_REFERENCES: True})


#: What a server, and whoever reads or labels versions, needs of the configuration.
_TO_SERVE = ("name", "workspace", "push")


def load_to_serve(
    folder: str | Path,
    env: str | None = None,
    settings: Iterable[str] = (),
    also: Iterable[str] = (),
) -> Project:
    """Loads a project for what is done with its published versions.

    Only the project's name and the places of versions and keys are looked up in the environment: a
    machine that serves has none of training's secrets. Every other text with a reference
    `${env:NAME}` stays that text, also where the key is a number.

    Args:
        folder: The folder that holds `pipeline.yaml`, or that file itself.
        env: Name of an overlay.
        settings: `a.b=value` texts, applied last.
        also: Further sections that are looked up.

    Raises:
        ConfigError: As `load_project`; what other references stand for is not checked.
    """
    raw, root = read_effective(folder, env, settings)
    where = str(root / MAIN_FILE)
    needed = {key: raw[key] for key in (*_TO_SERVE, *also) if key in raw}
    push, private = _without_private(needed.get("push"), ("private_key", "password"))
    if private:
        needed["push"] = push
    resolved = {**raw, **resolve_references(needed, where)}
    if private:
        # Looked up where they are; elsewhere they are missed by whoever signs.
        with contextlib.suppress(ConfigError):
            private |= resolve_references({"private_key": private.get("private_key")}, where)
        resolved["push"]["signing"] |= private
    return _validate(resolved, root, env, {KEEP_REFERENCES: True})


def with_settings(raw: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """A copy of a configuration with `a.b=value` texts applied in their order.

    Raises:
        ConfigError: One is no setting; quotes it.
    """
    changed = dict(raw)
    for setting in settings:
        _apply(changed, setting)
    return changed


def _without_private(push: Any, keys: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    """`push` without some keys of `signing`, and these."""
    signing = push.get("signing") if isinstance(push, dict) else None
    if not isinstance(signing, dict):
        return push, {}
    private = {key: signing[key] for key in keys if signing.get(key) is not None}
    rest = {key: value for key, value in signing.items() if key not in keys}
    return {**push, "signing": rest}, private


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
    return with_settings(raw, settings), root


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


def _validate(
    raw: Mapping[str, Any], root: Path, env: str | None, context: dict[str, Any] | None = None
) -> Project:
    filled = dict(raw)
    for reserved in ("folder", "environment", "beside"):
        if reserved in filled:
            raise ConfigError(f"{root / MAIN_FILE}: unknown key {reserved!r}")
    filled |= {"folder": root, "environment": env}
    filled.setdefault("workspace", str(_default_workspace(root)))
    filled.setdefault("metadata", str(Path(str(filled["workspace"])) / "metadata.sqlite"))
    try:
        project = Project.model_validate(filled, context=context)
    except ValidationError as error:
        lines = [explain(detail, Project, root / MAIN_FILE) for detail in error.errors()]
        raise ConfigError("\n".join(lines), f"see docs/configuration.md; file {root}") from error
    return _with_absolute_paths(project)


def _default_workspace(root: Path) -> Path:
    """`var/` at the root of the repository that holds the project, else in the project."""
    for folder in (root, *root.parents):
        if (folder / ".git").exists():
            return folder / "var"
    return root / "var"


def _with_absolute_paths(project: Project) -> Project:
    beside = []

    def absolute(path: Path) -> Path:
        given = path.expanduser()
        found = Path(os.path.normpath(project.folder / given))
        if not given.is_absolute() and not found.is_relative_to(project.folder):
            beside.append(found)
        return found

    push = project.push
    if push.directory is not None and not project.is_pushed_away:
        push = push.model_copy(update={"directory": str(absolute(Path(push.directory)))})
    if push.signing is not None:
        private = push.signing.private_key
        keys = {
            "public_key": absolute(push.signing.public_key),
            # A variable that is not set here is missed by whoever signs.
            "private_key": private
            if private is None or has_reference(str(private))
            else absolute(private),
        }
        push = push.model_copy(update={"signing": push.signing.model_copy(update=keys)})
    cluster = project.kubeflow
    if cluster.ca_file is not None:
        cluster = cluster.model_copy(update={"ca_file": absolute(cluster.ca_file)})
    if cluster.auth is not None and cluster.auth.token_file is not None:
        auth = cluster.auth.model_copy(update={"token_file": absolute(cluster.auth.token_file)})
        cluster = cluster.model_copy(update={"auth": auth})
    update = {
        "push": push,
        "kubeflow": cluster,
        "workspace": absolute(project.workspace),
        "metadata": absolute(project.metadata)
        if isinstance(project.metadata, Path)
        else project.metadata,
        "schema_file": absolute(project.schema_file),
        "data": project.data.model_copy(update={"path": absolute(project.data.path)}),
        "train": project.train.model_copy(update={"module": absolute(project.train.module)}),
    }
    return project.model_copy(update=update | {"beside": tuple(beside)})
