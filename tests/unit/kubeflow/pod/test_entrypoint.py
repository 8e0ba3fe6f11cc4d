"""The entrypoint's words, and what it says of errors; its tasks are in tests/integration."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ordain.kubeflow.pod.entrypoint import main

ROOT = Path(__file__).resolve().parents[4]


def test_an_error_is_a_line_with_what_to_do_and_its_code(capsys):
    code = main(["node", "--node", "Trainer", "--plan", "no plan", "--run-id", "run-1"])
    assert code == 2
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "error: --plan 'no plan': not a plan written by prepare",
        "  next: see docs/kubeflow-pods.md",
    ]


def test_a_plan_whose_file_is_not_there_is_infrastructure(capsys, tmp_path):
    plan = json.dumps({"uri": str(tmp_path / "run_plan.json"), "sha256": "0", "spans": [1]})
    assert main(["result", "--plan", plan, "--run-id", "run-1"]) == 5
    assert "every task needs the volume" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["other"], ["node", "--node", "Trainer"]])
def test_words_that_are_none_are_usage(words):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2


def test_a_task_that_fails_early_needs_no_tensorflow():
    code = (
        "import sys; from ordain.kubeflow.pod.entrypoint import main; "
        "main(['node', '--node', 'N', '--plan', '{}', '--run-id', 'r']); "
        "sys.exit(int('tensorflow' in sys.modules or 'tfx' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
