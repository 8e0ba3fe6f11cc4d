"""A command's standard error, without TensorFlow's notices."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from servers import ordain, write_project
from tiny_models import save_doubler

from ordain.serving.registry.directory import publish
from ordain.serving.registry.labels import record_push
from ordain.serving.registry.manifest import Manifest

ROOT = Path(__file__).resolve().parents[3]


def _environment(*path: Path, **variables: str) -> dict[str, str]:
    """That of a user who has set nothing."""
    left = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    return left | {"PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT)))} | variables


@pytest.mark.parametrize(
    "command", [("models", "verify"), ("models", "promote", "1", "--why", "it is good")]
)
def test_a_command_that_loads_tensorflow_prints_none_of_its_notices(tmp_path, command):
    project = write_project(tmp_path)
    base = tmp_path / "work" / "serving" / "toy"
    publish(save_doubler(tmp_path / "m"), base, Manifest("toy", 0, ""))
    record_push(base, 1, "run r", "auto")
    group, name, *arguments = command
    done = subprocess.run(
        ordain(group, name, project, *arguments),
        capture_output=True,
        text=True,
        env=_environment(),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


NOTICES = "WARNING: All log messages before absl::InitializeLog() is called ...\\n"
NOTICES += "I0000 00:00:1796064414.984341 239 cudart_stub.cc:31] Could not find cuda drivers\\n"


@pytest.mark.parametrize(
    ("level", "end", "code", "told"),
    [
        ("", "", 0, "mine\nafter\n"),
        ("", "raise SystemExit(3)", 3, "mine\n"),
        ("", "os.abort()", -signal.SIGABRT, "mine\n"),
        ("0", "", 0, NOTICES.replace("\\n", "\n") + "mine\nafter\n"),
    ],
    ids=["imported", "raised", "aborted", "notices wanted"],
)
def test_all_else_comes_through_whatever_the_import_does(tmp_path, level, end, code, told):
    (tmp_path / "tensorflow").mkdir()
    body = f"import os\nos.write(2, b'{NOTICES}mine\\n')\n{end}\n"
    (tmp_path / "tensorflow" / "__init__.py").write_text(body)
    script = (
        "import os; from ordain.upstream import tensorflow_import as ours; "
        "ours.quiet_tensorflow(); "
        "import tensorflow; os.write(2, b'after\\n'); "
        "assert type(tensorflow.__loader__).__name__ == 'SourceFileLoader'"
    )
    variables = {"TF_CPP_MIN_LOG_LEVEL": level} if level else {}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=_environment(tmp_path, **variables),
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, told)
