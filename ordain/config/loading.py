"""Loads a `Project` from its files, an overlay and `--set`.

Order, later wins: `pipeline.yaml`, `pipeline.<env>.yaml`, `--set key.path=value`. Then
`${env:NAME}` is replaced from the environment (`ordain.common.env_references`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ordain.common.env_references import resolve_references
from ordain.config.base import Source
from ordain.config.errors import explain
from ordain.config.project import Project
from ordain.errors import ConfigError

MAIN_FILE = "pipeline.yaml"
#: A larger file is a mistake, or an attack on the parser.
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
        ConfigError: Names the file and the key, the value found, and what is allowed.
    """
    raw, root = _read_files(folder, env)
    return load_raw(raw, root, env, settings)


def load_raw(
    raw: Mapping[str, Any], folder: str | Path, env: str | None = None, settings: Iterable[str] = ()
) -> Project:
    """Loads a project from a configuration that was read before, such as that of a pod.

    Args:
        raw: The configuration, references unresolved (`Project.effective`).
        folder: The project's folder, which relative paths start from.
        env: Name of the overlay that is in `raw` already.
        settings: `a.b=value` texts, applied last.

    Raises:
        ConfigError: As `load_project`.
    """
    source = _source(raw, Path(folder).resolve(), env, settings)
    # Resolved on use, since only a machine that uses them has them: the pass phrase on signing, the
    # database's password on connecting, a webhook's address on sending. Arguments of own nodes
    # hold no reference.
    late = {"notify", "metadata", "kubeflow", "nodes"}
    resolved = _resolve(source, source.effective.keys() - late, ("password",))
    # ML Metadata keeps training parameters, so the Trainer resolves their references; here they are
    # only checked.
    if isinstance(resolved.get("train"), dict) and "parameters" in resolved["train"]:
        resolved["train"]["parameters"] = source.effective["train"]["parameters"]
    return _validate(resolved, source)


def load_unresolved(
    folder: str | Path, env: str | None = None, settings: Iterable[str] = ()
) -> Project:
    """Loads a project without resolving references, to compile it.

    A text with a reference `${env:NAME}` stays that text, also where the key is a number or a
    path: the result has the pipeline's structure and cannot be run.

    Raises:
        ConfigError: As `load_project`; values of references are not checked.
    """
    raw, root = _read_files(folder, env)
    source = _source(raw, root, env, settings, keeps_references=True)
    return _validate(source.effective, source)


#: Keys that serving, and reading or labelling versions, need.
_TO_SERVE = ("name", "workspace", "push")


def load_to_serve(
    folder: str | Path,
    env: str | None = None,
    settings: Iterable[str] = (),
    also: Iterable[str] = (),
) -> Project:
    """Loads a project for work on its published versions.

    Only the project's name and the locations of versions and keys are resolved: a machine that
    serves has none of training's secrets. Every other text with a reference `${env:NAME}` stays
    that text, also where the key is a number.

    Args:
        folder: The folder that holds `pipeline.yaml`, or that file itself.
        env: Name of an overlay.
        settings: `a.b=value` texts, applied last.
        also: Further sections to resolve.

    Raises:
        ConfigError: As `load_project`; values of other references are not checked.
    """
    raw, root = _read_files(folder, env)
    source = _source(raw, root, env, settings, keeps_references=True)
    resolved = _resolve(source, {*_TO_SERVE, *also}, ("private_key", "password"))
    signing = _signing(resolved)
    # A variable that is not set is reported when something is signed.
    with contextlib.suppress(ConfigError):
        signing |= resolve_references({"private_key": signing.get("private_key")}, MAIN_FILE)
    return _validate(resolved, source)


def _source(
    raw: Mapping[str, Any],
    root: Path,
    env: str | None,
    settings: Iterable[str],
    *,
    keeps_references: bool = False,
) -> Source:
    """The source of a project; the settings are applied to a copy of its configuration."""
    given, effective = tuple(settings), dict(raw)
    for setting in given:
        _apply(effective, setting)
    return Source(root, env, given, effective, keeps_references)


def _resolve(source: Source, sections: Collection[str], kept: Iterable[str]) -> dict[str, Any]:
    """The configuration with the references of some sections resolved, some keys of signing not."""
    wanted = {key: value for key, value in source.effective.items() if key in sections}
    private = {key: value for key, value in _signing(wanted).items() if key in kept}
    if private:
        public = {key: value for key, value in wanted["push"]["signing"].items() if key not in kept}
        wanted["push"] = {**wanted["push"], "signing": public}
    resolved = resolve_references(wanted, str(source.folder / MAIN_FILE))
    _signing(resolved).update(private)
    return {**source.effective, **resolved}


def _signing(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The section `push.signing`; an empty one if there is none."""
    push = raw.get("push")
    signing = push.get("signing") if isinstance(push, dict) else None
    return signing if isinstance(signing, dict) else {}


def _read_files(folder: str | Path, env: str | None) -> tuple[dict[str, Any], Path]:
    """The configuration of `pipeline.yaml` and its overlay, and the project's folder."""
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
    return raw, root


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_BYTES} bytes")
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
            raise ConfigError(f"--set {setting}: {part!r} is a value, not a mapping")
        # A copy: with YAML's anchors another key may hold the same mapping.
        below = here[part] = dict(below)
        here = below
    here[parts[-1]] = value


def _validate(raw: Mapping[str, Any], source: Source) -> Project:
    root = source.folder
    filled = dict(raw)
    filled.setdefault("workspace", str(_default_workspace(root)))
    filled.setdefault("metadata", str(Path(str(filled["workspace"])) / "metadata.sqlite"))
    try:
        return Project.model_validate(filled, context=source)
    except ValidationError as error:
        lines = [explain(detail, Project, root / MAIN_FILE) for detail in error.errors()]
        raise ConfigError("\n".join(lines), f"see docs/configuration.md; file {root}") from error


def _default_workspace(root: Path) -> Path:
    """`var/` at the root of the repository that holds the project, else in the project."""
    for folder in (root, *root.parents):
        if (folder / ".git").exists():
            return folder / "var"
    return root / "var"
