"""Fingerprint of a project's source, and the names that its module defines.

TFX's cache key covers the text of the module file, not the files that it imports. The fingerprint
covers every Python file of the project.
"""

from __future__ import annotations

import ast
import hashlib
from importlib import metadata
from pathlib import Path

from ordain.errors import ConfigError

#: Packages that affect the outputs of Transform and Trainer.
_VERSIONED = ("ordain", "tfx", "tensorflow", "keras", "tensorflow-transform")
_SKIPPED_FOLDERS = {"__pycache__", "var", ".venv", "tests"}


def fingerprint(folder: Path) -> str:
    """SHA-256 over the project's Python files and `library_versions`."""
    digest = hashlib.sha256()
    for package, version in library_versions().items():
        digest.update(f"{package}=={version}\n".encode())
    for path in source_files(folder):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def source_files(folder: Path) -> list[Path]:
    """Python files that a project's fingerprint covers, sorted."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        if not hidden and not _SKIPPED_FOLDERS & set(parts[:-1]):
            found.append(path)
    return found


def library_versions() -> dict[str, str]:
    """Versions of the packages that affect the outputs of Transform and Trainer."""
    return {package: metadata.version(package) for package in _VERSIONED}


def image_fingerprint(folder: Path, schema_file: Path) -> str:
    """SHA-256 over the parts of a project in an image beside its configuration.

    Args:
        folder: The project.
        schema_file: Its schema; it may not exist.
    """
    schema = schema_file.read_bytes() if schema_file.exists() else b"none"
    return hashlib.sha256(fingerprint(folder).encode() + b"\n" + schema).hexdigest()


def functions_of(module: Path) -> set[str]:
    """Lists the names that a module binds at its top level, without importing it.

    Raises:
        ConfigError: There is no such file, or it is not valid Python; names the line.
    """
    try:
        tree = ast.parse(module.read_bytes(), filename=str(module))
    except OSError as error:
        raise ConfigError(f"train.module: {module} cannot be read: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise ConfigError(f"{module}, line {line}: {error}", "correct the module") from error
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names
