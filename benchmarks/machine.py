"""What the figures were measured on, and how to say it without naming anyone's folders."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

PACKAGES = (
    *("tfx", "tensorflow", "keras", "apache-beam", "tensorflow-data-validation"),
    *("tensorflow-transform", "tensorflow-model-analysis", "tfx-bsl", "ml-metadata"),
    *("pyarrow", "pandas", "numpy", "scikit-learn", "protobuf"),
)
#: Where a path can begin: not inside another path, a web address or a name already put in.
_BEGINNING = r"(?<![\w.<>:/~-])"
_ABSOLUTE = re.compile(_BEGINNING + r"/(?:[^\s/:'\"(),]+/)+")


def machine_facts() -> dict[str, Any]:
    """Cores, memory, processor, system, Python and the packages that do the work."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": _system(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def source_state(root: Path) -> dict[str, Any]:
    """The commit that was measured, and whether the tree held changes; empty without git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), "--no-optional-locks", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return {"commit": commit, "is_changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {}


def without_paths(text: str, names: Mapping[str, Path]) -> str:
    """The text with known folders named and other absolute ones cut to the file's name.

    Args:
        text: For example the last lines of a traceback.
        names: What to write for each known folder, such as `{"<repository>": root}`.
    """
    for name, folder in sorted(names.items(), key=lambda item: -len(str(item[1]))):
        text = re.sub(rf"{_BEGINNING}{re.escape(str(folder))}(?![\w.-])", name, text)
    return _ABSOLUTE.sub(".../", text)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, kernel {platform.release()}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
