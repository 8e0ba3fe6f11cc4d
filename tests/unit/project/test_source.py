"""The source fingerprint, which keys the cache, and what a module defines without importing it."""

from pathlib import Path

import pytest

from ordain.errors import ConfigError
from ordain.project import source
from ordain.project.source import fingerprint, functions_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "features").mkdir()
    (tmp_path / "model.py").write_text("from features import scale\n")
    (tmp_path / "features" / "__init__.py").write_text("")
    (tmp_path / "features" / "scale.py").write_text("FACTOR = 1\n")
    return tmp_path


@pytest.mark.parametrize(
    "path",
    ["model.py", "features/scale.py", "features/new.py", "variables.py", "tests.py"],
)
def test_a_changed_or_new_file_of_the_project_changes_it(folder, path):
    before = fingerprint(folder)
    with (folder / path).open("a") as file:
        file.write("# changed\n")
    assert fingerprint(folder) != before


def test_a_removed_file_changes_it(folder):
    before = fingerprint(folder)
    (folder / "features" / "scale.py").unlink()
    assert fingerprint(folder) != before


def test_a_renamed_file_changes_it(folder):
    before = fingerprint(folder)
    (folder / "features" / "scale.py").rename(folder / "features" / "scales.py")
    assert fingerprint(folder) != before


def test_content_that_moves_from_file_to_file_changes_it(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\ny = 2\n")
    (tmp_path / "b.py").write_text("")
    before = fingerprint(tmp_path)
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("y = 2\n")
    assert fingerprint(tmp_path) != before


@pytest.mark.parametrize(
    "path",
    [
        "__pycache__/model.cpython-311.py",
        "features/__pycache__/scale.py",
        "var/toy/runs/1/copy.py",
        ".venv/lib/site.py",
        ".ipynb_checkpoints/model.py",
        "tests/test_model.py",
        "notes.txt",
        "pipeline.yaml",
    ],
)
def test_what_is_not_the_projects_source_does_not_change_it(folder, path):
    before = fingerprint(folder)
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text("# new\n")
    assert fingerprint(folder) == before


def test_it_is_the_same_in_another_place(folder, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy")
    for path in sorted(folder.rglob("*.py"), reverse=True):
        target = copy / path.relative_to(folder)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    assert fingerprint(copy) == fingerprint(folder)


def test_another_version_of_what_runs_the_source_changes_it(folder, monkeypatch):
    before = fingerprint(folder)
    real = source.metadata.version
    for package in ("tfx", "tensorflow", "keras", "tensorflow-transform"):
        with monkeypatch.context() as patch:
            patch.setattr(
                source.metadata, "version", lambda name, p=package: real(name) + "x" * (name == p)
            )
            assert fingerprint(folder) != before


def test_names_bound_at_the_top_level_are_found(tmp_path):
    module = tmp_path / "model.py"
    module.write_text(
        "import numpy as np\n"
        "from helpers import train as run_fn, other\n"
        "preprocessing_fn = other\n"
        "def tuner_fn():\n"
        "    def inner(): pass\n"
        "class Model: pass\n"
    )
    assert functions_of(module) == {"run_fn", "other", "preprocessing_fn", "tuner_fn"}


def test_the_module_is_not_run(tmp_path):
    module = tmp_path / "model.py"
    module.write_text("raise SystemExit\ndef run_fn(): pass\n")
    assert functions_of(module) == {"run_fn"}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"x = 1\ndef run_fn(:\n", "line 2"),
        (b"def f():\n    a\n  b\n", "line 3"),
        (b"x = '\n", "line 1"),
    ],
)
def test_what_is_no_python_is_refused_with_the_line(tmp_path, content, line):
    module = tmp_path / "model.py"
    module.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        functions_of(module)
    assert caught.value.message.startswith(f"{module}, {line}: ")


@pytest.mark.parametrize("content", [b"x = '\xfc'\n", b"x = 1\0\n"])
def test_what_is_no_text_is_refused_by_name(tmp_path, content):
    module = tmp_path / "model.py"
    module.write_bytes(content)
    with pytest.raises(ConfigError, match=str(module)):
        functions_of(module)


def test_a_missing_module_is_named_with_its_key(tmp_path):
    with pytest.raises(ConfigError) as caught:
        functions_of(tmp_path / "modle.py")
    assert caught.value.message == (
        f"train.module: {tmp_path / 'modle.py'} cannot be read: No such file or directory"
    )
