"""`ordain simulate` as a user calls it: a process, its output, its exit code, its signals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from compiled import compile_to, shell
from kfp import kubernetes


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "ordain.cli.main", "simulate", *map(str, arguments)]


def call(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_a_failed_task_is_named_with_its_code_its_log_and_its_last_lines(tmp_path):
    def build():
        bad = shell(script="echo the disk is full; exit 3")
        shell(script="true").after(bad)

    done = call(compile_to(tmp_path, build), "--root", tmp_path / "root")
    assert done.returncode == 3, done.stderr
    assert "task shell failed, exit code 3: exit code 3" in done.stdout
    assert "| the disk is full" in done.stdout
    (log,) = (tmp_path / "root").rglob("log.txt")
    assert f"log {log}" in done.stdout
    assert "shell-2 " in done.stdout


def test_json_is_all_of_the_output(tmp_path):
    done = call(
        compile_to(tmp_path, lambda: shell(script="true")), "--json", "--root", tmp_path / "root"
    )
    report = json.loads(done.stdout)
    assert (done.returncode, report["state"]) == (0, "succeeded")
    assert json.loads((Path(report["folder"]) / "report.json").read_text()) == report


def test_the_default_folder_is_named(tmp_path):
    file = compile_to(tmp_path, lambda: shell(script="true"))
    done = call(file, "--json", TMPDIR=str(tmp_path))
    folder = Path(json.loads(done.stdout)["folder"])
    assert folder.is_relative_to(tmp_path)
    assert str(folder) in done.stderr


def test_no_secret_is_printed(tmp_path):
    def build():
        task = shell(script='echo "$PASSWORD"; exit 1')
        kubernetes.use_secret_as_env(task, "db", {"password": "PASSWORD"})

    done = call(
        compile_to(tmp_path, build),
        *("--secret", "db.password=GIVEN", "--root", tmp_path / "root"),
        GIVEN="top-hush-hush",
    )
    assert "| ***" in done.stdout
    assert "hush" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--param", "a"], "--param a: expected NAME=VALUE"),
        (["--param", "a=1"], "the file's parameters are: none"),
        (["--inject", "shel:kill"], "did you mean shell?"),
        (["--secret", "db.password=NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE is not set"),
    ],
)
def test_wrong_options_start_nothing(tmp_path, arguments, message):
    file = compile_to(tmp_path, lambda: shell(script=f"touch {tmp_path}/started"))
    done = call(file, *arguments, "--root", tmp_path / "root")
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_tasks(tmp_path, number, code):
    marks = tmp_path / "marks"
    marks.mkdir()
    listens = (
        f"trap 'touch {marks}/tidied; exit 1' TERM; touch {marks}/a; while :; do sleep 0.1; done"
    )
    deaf = (
        f"trap '' TERM; setsid sh -c 'touch {marks}/c; exec sleep 600' & touch {marks}/b; sleep 600"
    )

    def build():
        first = shell(script=listens)
        shell(script=deaf)
        shell(script=f"touch {marks}/never").after(first)

    with subprocess.Popen(
        command(compile_to(tmp_path, build), "--grace", "1", "--root", tmp_path / "root"),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while len(list(marks.iterdir())) < 3:
            assert process.poll() is None
            time.sleep(0.05)
        theirs = marked(process.pid)
        process.send_signal(number)
        output, _ = process.communicate()
    assert len(theirs) >= 3
    assert process.returncode == code
    assert "made-for-a-test canceled" in output
    assert (marks / "tidied").exists()
    assert not (marks / "never").exists()
    alive = [p for p in theirs if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert alive == []
    (report,) = (tmp_path / "root").rglob("report.json")
    tasks = {task["name"]: task["state"] for task in json.loads(report.read_text())["tasks"]}
    assert tasks == {"shell": "canceled", "shell-2": "canceled", "shell-3": "not started"}


def marked(simulator: int) -> list[psutil.Process]:
    """The processes of the tasks that a process simulates; other tests have theirs."""
    found = []
    for process in psutil.Process(simulator).children(recursive=True):
        try:
            if "KFP_POD_NAME" in process.environ():
                found.append(process)
        except psutil.Error:
            continue
    return found
