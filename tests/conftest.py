"""Gives tests their marks `framework` and `process`, and holds unmarked tests to having neither.

tests/support/marks.py reads the marks from the source. A test that gets there through the product
is marked by hand; while a test without marks runs, doing either is an error.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import nullcontext
from pathlib import Path

import marks
import pytest

NAMES = frozenset({"framework", "process"})


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves a file unimported if a mark of all its tests is deselected."""
    deselected = {name for name in NAMES if f"not {name}" in config.option.markexpr}
    is_test = collection_path.suffix == ".py" and collection_path.name.startswith("test_")
    if not deselected or not is_test:
        return None
    return bool(deselected & marks.file_marks(collection_path)) or None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, object, object]:
    """Importing an unmarked file neither imports a framework nor starts a process."""
    is_light = isinstance(collector, pytest.Module) and not marks.file_marks(collector.path)
    with marks.enforced() if is_light else nullcontext():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test, from its own source and that of its fixtures."""
    for item in items:
        for mark in _marks_of(item):
            item.add_marker(mark)


def _marks_of(item: pytest.Item) -> set[str]:
    found = set(marks.file_marks(item.path))
    fixtures = getattr(item, "_fixtureinfo").name2fixturedefs.values()  # noqa: B009  private
    for function in (item.function, *(one.func for some in fixtures for one in some)):
        path = Path(function.__code__.co_filename)
        if marks.ROOT / "tests" in path.parents:
            found |= marks.function_marks(path, function.__name__)
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test without marks that imports a framework or starts a process fails."""
    is_light = not NAMES & {mark.name for mark in item.iter_markers()}
    with marks.enforced() if is_light else nullcontext():
        return (yield)
