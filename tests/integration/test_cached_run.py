"""A run in which nothing is new, in a process of its own, as a user starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[2]
AGAIN = """
import json, sys
sys.path.insert(0, "tests/support")
from pathlib import Path
from sandbox import Sandbox, states
result = Sandbox(Path(sys.argv[1])).run()
heavy = sorted({"tensorflow.python", "keras", "tensorflow_transform"} & set(sys.modules))
print(json.dumps({"states": states(result), "heavy": heavy, "code": int(result.exit_code)}))
"""


def again(project: Sandbox) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, str(project.folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_it_loads_no_tensorflow_and_one_with_something_new_does(
    small: Callable[..., Sandbox],
) -> None:
    project = small()
    assert int(project.run().exit_code) == 0

    cached = again(project)
    assert cached["code"] == 0
    assert cached["heavy"] == []
    looked_up = {"AnalyzerCache": "complete", "Baseline": "complete"}
    assert cached["states"] == dict.fromkeys(cached["states"], "cached") | looked_up

    project.set(train={"steps": 7})
    changed = again(project)
    assert changed["states"]["Transform"] == "cached"
    assert changed["states"]["Trainer"] == "complete"
    assert "tensorflow.python" in changed["heavy"]
