"""Fixtures: projects of their own in temporary folders."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import postgres
import pytest
from sandbox import PROJECTS, Sandbox, good_rows, write_csv


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL of the module's own; its absence is a failure in CI, which installs one."""
    if not postgres.is_installed() and "ORDAIN_TEST_ALL" not in os.environ:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres.serving() as running:
        yield running


@pytest.fixture(scope="session")
def digit_rows() -> tuple[list[str], list[list[int]]]:
    """scikit-learn's digits: header and 1,797 rows of 64 pixels and the digit."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    header = [f"p{i}" for i in range(64)] + ["digit"]
    rows = [
        [int(p) for p in pixels] + [int(digit)]
        for pixels, digit in zip(loaded.data, loaded.target, strict=True)
    ]
    return header, rows


@pytest.fixture
def digits(tmp_path: Path, digit_rows: Any) -> Sandbox:
    """The multi-class project, with two spans of 800 and 997 rows."""
    folder = tmp_path / "digits"
    shutil.copytree(PROJECTS / "digits", folder)
    header, rows = digit_rows
    write_csv(folder / "data" / "1" / "digits.csv", rows[:800], header)
    write_csv(folder / "data" / "2" / "digits.csv", rows[800:], header)
    return Sandbox(folder)


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Sandbox]:
    """Makes a tiny binary project out of rows: columns x (number), c (text), y (label 0 or 1)."""

    def make(spans: dict[int, list[list[Any]]] | None = None, **settings: Any) -> Sandbox:
        folder = tmp_path / f"small-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(PROJECTS / "small", folder)
        sandbox = Sandbox(folder)
        for span, rows in (spans if spans is not None else {1: good_rows()}).items():
            write_csv(folder / "data" / str(span) / "rows.csv", rows, ["x", "c", "y"])
        if settings:
            sandbox.set(**settings)
        return sandbox

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB, where the machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
