"""The wheel of this repository, and an environment with nothing of it but that wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import bootstrap

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("ordain", "pipeline", "components", "kubeflow")
FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE")


def build_wheel(folder: Path) -> Path:
    """Builds the wheel from a copy of the source in a folder, so that nothing is left in ours."""
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "setup.py", "--quiet", "bdist_wheel", "--dist-dir", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Makes an environment that holds the wheel, and our dependencies but not our source.

    Returns:
        The environment's folder of programs.
    """
    venv.create(folder, symlinks=True)
    programs = folder / "bin"
    python = programs / "python"
    # The interpreter of .venv, which set-up may have given a newer C library.
    python.unlink()
    python.symlink_to(sys.executable)
    (packages,) = folder.glob("lib/python3*/site-packages")
    # A folder on the path: its own .pth files, one of which adds our source, are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [str(word) for word in bootstrap.find_pip()]
    command = [*pip, "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, str(wheel)], check=True)
    return programs
