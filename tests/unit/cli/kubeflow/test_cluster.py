"""`ordain submit` and `ordain cluster` without a server: what they import, how they end."""

import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "tfx", "ml_metadata", "apache_beam", "kfp", "kfp_server_api", "kubernetes")


@pytest.mark.parametrize(
    "words",
    [
        ["submit", "--help"],
        ["cluster", "--help"],
        ["cluster", "schedule", "create", "--help"],
        ["cluster", "runs", "--host", "kubeflow.example"],
    ],
)
def test_help_and_wrong_options_import_no_sdk(words):
    program = (
        "import sys; from ordain.cli.main import main; sys.argv = ['ordain', *sys.argv[1:]]\n"
        "try:\n    main()\nfinally:\n"
        f"    print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], check=False, capture_output=True, text=True
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_an_error_ends_with_its_code_and_the_next_command():
    words = ["cluster", "runs", "--host", "http://127.0.0.1:9"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ordain.cli.main", *words],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 5
    assert done.stdout == ""
    headline, hint = done.stderr.splitlines()
    assert headline.startswith("error: asking for the server's version: no connection to http://")
    assert hint.startswith("  next: kubectl -n kubeflow port-forward svc/ml-pipeline 8888")
