"""The wheel alone, installed into an empty environment, checks, plans and runs a project."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from wheel_file import build_wheel, install


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> Path:
    wheel = build_wheel(tmp_path_factory.mktemp("built"))
    return install(wheel, tmp_path_factory.mktemp("empty") / "venv")


@pytest.fixture
def ordain(programs, tmp_path):
    """Calls the installed command in a folder outside of the repository."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}

    def call(*words) -> str:
        command = [programs / "ordain", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


def test_its_modules_come_from_the_wheel(programs, tmp_path):
    code = "import ordain, sys; print(ordain.__file__)"
    command = [programs / "python", "-c", code]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(programs.parent)


def test_it_plans_and_runs_a_project(ordain, small):
    folder = small().folder
    assert "all pre-run checks passed" in ordain("plan", folder)
    result = json.loads(ordain("run", folder, "--json"))
    assert result["exit_code"] == 0
    assert {verdict["outcome"] for verdict in result["verdicts"]} <= {"passed", "warned", "skipped"}
    assert list((folder.parent).rglob("saved_model.pb"))


def test_doctor_proposes_no_folder_of_the_environment(ordain, programs, tmp_path):
    checks = {check["name"]: check for check in json.loads(ordain("doctor", "--json"))}
    assert checks["workspace"]["found"].startswith(f"{tmp_path / 'var'}: ")
    assert checks["packages"]["state"] == "ok"
    texts = "\n".join(check["found"] + check["fix"] for check in checks.values())
    assert "site-packages" not in texts
    assert "bootstrap.py" not in texts
