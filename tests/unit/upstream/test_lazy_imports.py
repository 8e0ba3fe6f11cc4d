"""Libraries that are imported when they are used; each case in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BEGIN = """
import sys
from ordain.upstream import lazy_imports as deferred
sys.path.insert(0, {folder!r})
deferred.DEFERRED = ("slow",)
deferred.FREE = ("slow.plain",)
deferred.ABSENT = ("extra",)
from ordain.upstream.lazy_imports import defer, frameworks
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A package `slow`, with submodules that do and do not need it, and a package `extra`."""
    files = {
        "slow/__init__.py": "print('slow runs')\nfrom slow import inner\nvalue = inner.value\n",
        "slow/inner.py": "value = 7\n",
        "slow/plain.py": "value = 8\n",
        "slow/other.py": "import sys\nvalue = sys.modules['slow'].value\n",
        "extra.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def told(folder: Path, code: str) -> list[str]:
    """Output of the code, line by line."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN.format(folder=str(folder)) + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_a_deferred_module_runs_at_its_first_use(folder: Path) -> None:
    code = """
    defer()
    import slow
    print("imported")
    print(slow.value, type(slow).__name__)
    print(slow.value)
    """
    assert told(folder, code) == ["imported", "slow runs", "7 module", "7"]


def test_a_name_taken_from_it_is_a_use(folder: Path) -> None:
    assert told(folder, "defer()\nfrom slow import value\nprint(value)") == ["slow runs", "7"]


def test_a_free_submodule_does_without_it(folder: Path) -> None:
    code = """
    defer()
    import slow.plain
    from slow import plain
    print(plain.value)
    print(slow.inner.value)
    """
    assert told(folder, code) == ["8", "slow runs", "7"]


def test_any_other_submodule_finds_it_executed(folder: Path) -> None:
    assert told(folder, "defer()\nfrom slow.other import value\nprint(value)") == ["slow runs", "7"]


def test_another_thread_waits_until_it_is_whole(folder: Path) -> None:
    (folder / "slow" / "inner.py").write_text("import time\ntime.sleep(0.3)\nvalue = 7\n")
    code = """
    import threading
    defer()
    import slow
    found = []
    threads = [threading.Thread(target=lambda: found.append(slow.value)) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    print(found)
    """
    assert told(folder, code) == ["slow runs", "[7, 7, 7, 7]"]


def test_an_error_of_the_module_is_raised_at_its_use(folder: Path) -> None:
    (folder / "slow" / "__init__.py").write_text("raise OSError('no such library')\n")
    code = """
    defer()
    import slow
    try:
        slow.value
    except OSError as error:
        print(error)
    """
    assert told(folder, code) == ["no such library"]


def test_what_is_absent_can_be_had_afterwards(folder: Path) -> None:
    code = """
    with frameworks():
        try:
            import extra
        except ImportError as error:
            print(error.name)
    import extra
    print("there")
    """
    assert told(folder, code) == ["extra", "there"]


def test_launching_needs_no_tensorflow() -> None:
    """What all of this is for; a library that begins to use another one is named here."""
    code = """
    import sys
    from ordain.upstream.tfx_imports import loading_tfx
    with loading_tfx():
        from ordain.runner import node_launcher as node_launch
    heavy = ["tensorflow.python", "keras", "kubernetes", "pymongo", "tensorflow_transform.beam"]
    print([name for name in heavy if name in sys.modules])
    from tfx import v1  # and the whole of it is there when it is asked for
    import tensorflow as tf
    print(tf.constant(1).numpy(), v1.components.Trainer.__name__)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.split("\n")[:2] == ["[]", "1 Trainer"], done.stderr
