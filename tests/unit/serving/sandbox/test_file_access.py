"""Restricted file access, tried by real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ordain.serving.registry.directory import publish
from ordain.serving.registry.manifest import Manifest

ROOT = Path(__file__).resolve().parents[4]
#: Tries each line of a list, `name: expression`, and says what came: a value, or the error.
TRIES = """
import json, os, subprocess, sys
from pathlib import Path
from ordain.serving.sandbox.server import confine
folder = Path(sys.argv[1])
if not confine(folder):
    print("null"); raise SystemExit
found = {}
for name, text in json.loads(sys.argv[2]).items():
    try:
        found[name] = repr(eval(text))
    except Exception as error:
        found[name] = type(error).__name__
print(json.dumps(found))
"""


@pytest.fixture
def trial(tmp_path) -> Path:
    """A trial's folder, and files beside it that must stay closed to it."""
    folder = tmp_path / "trial"
    for name in ("candidate/1", "scratch"):
        (folder / name).mkdir(parents=True)
    (folder / "candidate" / "1" / "saved_model.pb").write_text("graph")
    (folder / "result.json").write_text("result")
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "home" / ".ssh" / "id").write_text("secret")
    return folder


def run(script: str, folder: Path, *arguments: str) -> str:
    scratch = str(folder / "scratch")
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), *arguments],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            # As of a trial's server.
            "HOME": scratch,
            "TMPDIR": scratch,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def tried(folder: Path, tries: dict[str, str]) -> dict[str, str]:
    found = json.loads(run(TRIES, folder, json.dumps(tries)))
    if found is None:
        pytest.skip("this kernel has no Landlock")
    return found


def test_reads_the_candidate_and_writes_its_scratch_folder(trial):
    found = tried(
        trial,
        {
            "read": "(folder / 'candidate/1/saved_model.pb').read_text()",
            "list": "os.listdir(folder / 'candidate')",
            "write": "(folder / 'scratch/a').write_text('x')",
            "make": "os.makedirs(folder / 'scratch/b/c')",
            "move": "os.rename(folder / 'scratch/a', folder / 'scratch/b/a')",
            "remove": "os.remove(folder / 'scratch/b/a')",
            "import": "__import__('decimal').__name__",
        },
    )
    assert found == {
        "read": "'graph'",
        "list": "['1']",
        "write": "1",
        "make": "None",
        "move": "None",
        "remove": "None",
        "import": "'decimal'",
    }


def test_nothing_else_is_read_written_or_run(trial, tmp_path):
    secret, home = tmp_path / "home" / ".ssh" / "id", tmp_path / "home"
    tries = {
        "a secret": f"open({str(secret)!r}).read()",
        "the list of a folder": f"os.listdir({str(home)!r})",
        "the project": f"open({str(ROOT / 'pyproject.toml')!r}).read()",
        "users": "open('/etc/passwd').read()",
        "the trial's result": "open(folder / 'result.json').read()",
        "a link to a secret": f"os.symlink({str(secret)!r}, folder / 'scratch/l') or "
        "open(folder / 'scratch/l').read()",
        "a hard link to a secret": f"os.link({str(secret)!r}, folder / 'scratch/h')",
        "a secret moved": f"os.rename({str(secret)!r}, folder / 'scratch/m')",
        "by the root of a process": f"open('/proc/self/root' + {str(secret)!r}).read()",
        "another process": f"open('/proc/{os.getpid()}/environ').read()",
        "another's memory": f"open('/proc/{os.getpid()}/mem', 'rb')",
        "write beside": f"open({str(tmp_path / 'new')!r}, 'w')",
        "write over": f"open({str(secret)!r}, 'w')",
        "write to the candidate": "open(folder / 'candidate/1/saved_model.pb', 'a')",
        "truncate": f"os.truncate({str(secret)!r}, 0)",
        "make a folder": f"os.mkdir({str(tmp_path / 'folder')!r})",
        "remove": f"os.remove({str(secret)!r})",
        "run": "subprocess.run(['/bin/true'])",
        "change Python": f"open({str(Path(json.__file__))!r}, 'a')",
        "change ourselves": f"open({str(ROOT / 'ordain' / 'serving' / 'scan' / 'scan.py')!r}, 'a')",
    }
    found = tried(trial, tries)
    assert {name: f for name, f in found.items() if f not in ("PermissionError", "OSError")} == {}
    assert secret.read_text() == "secret" and not (tmp_path / "new").exists()


#: Serves as the trial's server does, but for the scan: the sandbox alone is in a model's way.
CALLS = """
import json, os, sys
from pathlib import Path
from ordain.serving.sandbox.server import confine
folder = Path(sys.argv[1])
if not confine(folder):
    print("null"); raise SystemExit
from ordain.serving.server.models import checks
checks.scan = lambda _: []
import numpy as np
from ordain.serving.server.models.loading import load_version
from ordain.serving.server.errors import RequestError
found = []
for version in (1, 2, 3, 4):
    model = load_version(folder / "candidate" / str(version), version, None)
    try:
        outputs = model.run("serving_default", {"x": np.ones(1, "f4")})
        found.append({name: str(value) for name, value in outputs.items()})
    except RequestError as error:
        found.append(error.message)
print(json.dumps(found))
"""


def test_model_that_reads_and_writes_files_is_denied(tmp_path):
    from tiny_models import save_doubler

    secret, written = tmp_path / "secret", tmp_path / "written"
    secret.write_text("secret")
    folder = tmp_path / "trial"
    (folder / "scratch").mkdir(parents=True)
    models = [
        {"reads": str(secret)},
        {"writes": str(written)},
        {"writes": str(folder / "scratch" / "own"), "reads": "/proc/cpuinfo"},
        {},
    ]
    for number, what in enumerate(models):
        model = save_doubler(tmp_path / f"m{number}", **what)
        publish(model, folder / "candidate", Manifest("candidate", 0, ""))
    found = json.loads(run(CALLS, folder))
    if found is None:
        pytest.skip("this kernel has no Landlock")
    reading, writing, own, honest = found
    assert "Permission denied" in reading and str(secret) in reading
    assert "Permission denied" in writing and not written.exists()
    assert own["y"] == honest["y"] == "[2.]" and (folder / "scratch" / "own").exists()
