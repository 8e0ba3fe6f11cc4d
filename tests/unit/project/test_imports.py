"""A project's modules are imported from its folder, as they are at that time."""

import importlib
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from ordain.project.imports import project_on_path

NAME = "checks_of_this_test"


def project(folder: Path, value: int) -> Path:
    """A project with a module, and a package whose module imports it."""
    package = folder / f"{NAME}_package"
    package.mkdir(parents=True, exist_ok=True)
    (folder / f"{NAME}.py").write_text(f"VALUE = {value}\n#{'x' * value}\n")
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text(f"from {NAME} import VALUE\n")
    return folder


def value(folder: Path) -> int:
    with project_on_path(folder):
        return int(importlib.import_module(f"{NAME}_package.inner").VALUE)


def test_a_folder_is_importable_in_the_block_and_no_longer(tmp_path):
    path, modules = list(sys.path), dict(sys.modules)
    with pytest.raises(ZeroDivisionError), project_on_path(project(tmp_path, 1)):
        assert sys.path[0] == str(tmp_path)
        assert importlib.import_module(NAME).VALUE == 1
        raise ZeroDivisionError
    assert sys.path == path
    assert sys.modules == modules


def test_what_was_edited_is_imported_anew(tmp_path):
    """Old code would run, and its output be stored under the key of the new source."""
    assert value(project(tmp_path, 1)) == 1
    assert value(project(tmp_path, 2)) == 2


def test_entered_again_it_keeps_the_code_that_it_began_with(tmp_path):
    """A run imports a gate when it builds the graph, and its executor when it launches."""
    with project_on_path(project(tmp_path, 1)):
        assert value(tmp_path) == 1
        project(tmp_path, 2)
        assert value(tmp_path) == 1
    assert value(tmp_path) == 2


def test_a_module_that_changes_the_path_hides_nothing_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ZeroDivisionError), project_on_path(project(tmp_path, 1)):
        sys.path.remove(str(tmp_path))
        raise ZeroDivisionError
    assert NAME not in sys.modules


def test_two_projects_with_modules_of_one_name(tmp_path):
    first, second = project(tmp_path / "first", 1), project(tmp_path / "second", 2)
    assert [value(folder) for folder in (first, second, first)] == [1, 2, 1]


@pytest.mark.parametrize("place", ["project", "elsewhere"])
def test_a_module_that_the_program_had_imported_is_hidden_meanwhile(tmp_path, monkeypatch, place):
    folder = project(tmp_path / "project", 1)
    monkeypatch.syspath_prepend(str(project(tmp_path / place, 1)))
    theirs = importlib.import_module(NAME)
    project(folder, 2)
    try:
        assert value(folder) == 2
        assert sys.modules[NAME] is theirs
    finally:
        del sys.modules[NAME]


@pytest.mark.parametrize("place", ["site-packages/module.py", ".venv/lib/dist-packages/m.py"])
def test_installed_packages_in_a_projects_folder_stay_loaded(tmp_path, monkeypatch, place):
    """As where a project's folder holds its `.venv`, with TensorFlow in it."""
    module = types.ModuleType("installed_of_this_test")
    module.__spec__ = importlib.util.spec_from_file_location(module.__name__, tmp_path / place)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with project_on_path(tmp_path):
        assert sys.modules[module.__name__] is module


def test_another_thread_waits_and_says_so(tmp_path, caplog):
    first, second = project(tmp_path / "first", 1), project(tmp_path / "second", 2)
    found = []
    thread = threading.Thread(target=lambda: found.append(value(second)))
    with project_on_path(first):
        thread.start()
        while "waits for another project" not in caplog.text:
            time.sleep(0.01)
        assert value(first) == 1  # the same thread may enter again
        assert importlib.import_module(NAME).VALUE == 1
        assert found == []
    thread.join()
    assert found == [2]
