"""The marks of tests: read from the source, and enforced where there are none."""

import os
import subprocess
from pathlib import Path

import marks
import pytest

UNIT = Path(__file__).resolve().parent


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("test_verdict.py", set()),
        ("config/test_loading.py", set()),
        ("components/transform/test_analyzer_cache.py", {"framework"}),
        ("kubeflow/test_manifests.py", {"process"}),  # asks kubectl for its version, for a skip
        ("../integration/test_gc.py", {"framework", "process"}),
    ],
)
def test_of_a_file(file, expected):
    assert marks.file_marks((UNIT / file).resolve()) == expected


@pytest.mark.parametrize(
    ("file", "function", "expected"),
    [
        ("cli/test_doctor.py", "test_limits", set()),
        ("cli/test_doctor.py", "test_neither_tensorflow_nor_tfx_is_imported", {"process"}),
        ("serving/conftest.py", "keys", {"process"}),
        ("serving/conftest.py", "saved", {"framework"}),  # through tests/support/tiny_models.py
        ("pipeline/test_topology.py", "test_is_that_of_the_graph", {"framework"}),
        ("runner/test_workspace_lock.py", "start", {"process"}),
        ("storage/test_bucket.py", "client", {"process"}),  # through bucket_server.storing
    ],
)
def test_of_a_function(file, function, expected):
    assert function in marks.read(UNIT / file).functions
    assert marks.function_marks(UNIT / file, function) == expected


@pytest.mark.parametrize(
    ("act", "problem"),
    [
        (lambda: subprocess.run(["true"], check=True), "process"),
        (lambda: os.system("true"), "process"),
        (lambda: __import__("tensorflow.no_such_module"), "framework"),
        (lambda: __import__("apache_beam.no_such_module"), "framework"),
    ],
)
def test_an_unmarked_test_is_held_to_it(act, problem):
    with pytest.raises(marks.Unmarked, match=f"pytest.mark.{problem}"), marks.enforced():
        act()
