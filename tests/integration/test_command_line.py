"""`ordain` as a process: exit codes, output, locks, logs, secrets."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox import Sandbox

ORDAIN = str(Path(sys.executable).parent / "ordain")


def _ordain(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.run(
        [ORDAIN, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        **options,
    )


def test_a_run_ends_with_its_verdict_and_is_found_again(small: Callable[..., Sandbox]) -> None:
    project = small(train={"parameters": {"learning_rate": 0.1, "token": "${env:TOKEN}"}})
    folder = str(project.folder)
    secret = {"TOKEN": "s3cret-value"}

    done = _ordain("run", folder, env=secret)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "the model passed every gate and is version 1" in done.stdout
    assert "auc: " in done.stdout and "must be at least 0.8" in done.stdout
    run_id = next((project.folder / "var/small/runs").iterdir()).name
    listed = _ordain("runs", "list", folder, env=secret)
    assert run_id in listed.stdout
    shown = json.loads(_ordain("runs", "show", folder, "--json", env=secret).stdout)
    assert {n["state"] for n in shown["nodes"]} == {"complete"}
    assert shown["version"] == 1
    lineage = _ordain("runs", "lineage", folder, run_id, env=secret).stdout
    assert "PushedModel" in lineage and "version 1" in lineage
    logs = _ordain("runs", "logs", folder, "--node", "Trainer", env=secret).stdout
    assert "Trainer.log" in logs
    # The secret is nowhere: not in the database, the run folder, the artifacts, the output.
    for path in (project.folder / "var").rglob("*"):
        if path.is_file():
            assert b"s3cret-value" not in path.read_bytes(), path
    assert "s3cret-value" not in done.stdout + done.stderr

    frozen = _ordain("schema", "freeze", folder, env=secret)
    assert frozen.returncode == 0, frozen.stderr
    assert _ordain("schema", "diff", folder, env=secret).stdout.strip() == "no difference"

    rejected = _ordain("run", folder, "--set", "evaluate.thresholds.auc.min=1.5", env=secret)
    assert rejected.returncode == 4
    assert "blocked auc: " in " ".join(rejected.stdout.split())
    assert "not blessed: nothing was pushed" in rejected.stdout
    assert project.versions == ["1"]


def test_a_second_run_is_refused_by_name_and_a_killed_one_leaves_no_lock(
    small: Callable[..., Sandbox],
) -> None:
    project = small()
    first = subprocess.Popen(
        [ORDAIN, "run", str(project.folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        holder = project.folder / "var" / ".lock.json"
        deadline = time.monotonic() + 240
        while not holder.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        about = json.loads(holder.read_text())
        second = _ordain("run", str(project.folder))
        assert second.returncode == 5
        assert f"in use by run {about['run_id']} (process {first.pid})" in second.stderr
        assert "--wait" in second.stderr
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    third = _ordain("run", str(project.folder), "--to", "ExampleGen")
    assert third.returncode == 0, third.stderr


def test_a_corrupt_and_a_locked_metadata_file_are_named(small: Callable[..., Sandbox]) -> None:
    project = small()
    metadata = project.folder / "var" / "metadata.sqlite"
    metadata.parent.mkdir()
    metadata.write_bytes(b"this is no database" * 100)
    corrupt = _ordain("run", str(project.folder))
    assert corrupt.returncode == 5
    assert f"{metadata}: ML Metadata is corrupt" in corrupt.stderr
    assert metadata.read_bytes().startswith(b"this is no database")

    metadata.unlink()
    connection = sqlite3.connect(metadata, isolation_level=None)
    connection.execute("CREATE TABLE t (x)")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        locked = _ordain("run", str(project.folder))
    finally:
        connection.close()
    assert locked.returncode == 5
    assert "database is locked" in locked.stderr
    assert project.versions == []


def test_usage_errors_exit_2_without_a_traceback(small: Callable[..., Sandbox]) -> None:
    project = small()
    for arguments, words in (
        (["run", str(project.folder), "--set", "train.step=1"], ["train.step", "did you mean"]),
        (["run", str(project.folder / "nowhere")], ["is not a project"]),
        (["run", str(project.folder), "--to", "Nowhere"], ["--to Nowhere", "Evaluator"]),
        (["run", str(project.folder), "--set", "evaluate.thresholds={}"], ["thresholds"]),
    ):
        done = _ordain(*arguments)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        for word in words:
            assert word in done.stderr
    assert project.versions == []
