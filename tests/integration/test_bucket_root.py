"""The chain in pods that share a bucket and nothing else: each task begins with no workspace."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import postgres
import pytest
from bucket_server import new_bucket, storing
from metadata_contents import contents, differences
from ml_metadata.proto import metadata_store_pb2 as pb
from pods import ROOT, Host, PodRun, hosting
from sandbox import Sandbox, good_rows

from ordain.config.loading import load_project
from ordain.history.runs import History
from ordain.metadata.store import open_store
from ordain.serving.registry.object_store import list_object_versions
from ordain.storage.artifact_store import BUCKET_ROOT
from ordain.storage.bucket_artifacts import MARKER


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with storing() as made:
        yield made


@pytest.fixture(scope="module")
def host(client: Any) -> Iterator[Host]:
    with hosting() as running:
        yield running


class Pods(PodRun):
    """A run whose tasks find nothing of what the tasks before them left on this machine."""

    bucket: str = ""

    @property
    def workspace(self) -> Path:
        return BUCKET_ROOT / self.bucket

    def start(self, task: str, *words: str, **told: str) -> int:
        shutil.rmtree(self.workspace, ignore_errors=True)
        return super().start(task, *words, **told)

    def prepare_words(self, *settings: str, **told: str) -> Any:
        return super().prepare_words(*settings, root=f"gs://{self.bucket}/ml", **told)


class Project:
    """The small project on a database and a bucket of its own."""

    def __init__(self, sandbox: Sandbox, bucket: Any, new_run: Callable[[], Pods]) -> None:
        self.sandbox = sandbox
        self.bucket = bucket
        self.new_run = new_run
        project = load_project(sandbox.folder)
        self.history = History(project.metadata, project.name, project.paths)
        self.served = project.push_base

    def names(self) -> set[str]:
        return {blob.name for blob in self.bucket.list_blobs()}

    def text(self, run: Pods, name: str) -> str:
        return str(self.bucket.blob(f"ml/small/runs/{run.run_id}/{name}").download_as_text())

    def result(self, run: Pods) -> Any:
        return json.loads(self.text(run, "result.json"))


@pytest.fixture
def make(
    small: Callable[..., Sandbox],
    server: postgres.Server,
    host: Host,
    client: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[str], Project]]:
    monkeypatch.setenv("SECRET", postgres.PASSWORD)
    with new_bucket(client) as bucket:

        def make(database: str) -> Project:
            server.make(database)
            address = server.address(database, "${env:SECRET}")
            push = {"directory": f"gs://{bucket.name}/served"}
            spans = {1: good_rows(300), 2: good_rows(350)}
            sandbox = small(spans, metadata=address, push=push)

            def run() -> Pods:
                made = Pods(sandbox.folder, tmp_path / "out", host, {"SECRET": postgres.PASSWORD})
                made.bucket = bucket.name
                return made

            return Project(sandbox, bucket, run)

        yield make


def test_a_run_its_repetition_and_a_local_run_of_the_same(
    make: Callable[[str], Project], server: postgres.Server, tmp_path: Path
) -> None:
    project = make("bucket")
    first = project.new_run()

    done = first.all()

    assert done["result"].code == 0, done["result"].text
    assert list_object_versions(project.served) == [1]
    result = project.result(first)
    assert (result["exit_code"], result["version"], result["window"]) == (0, 1, [1, 2])
    assert {node["state"] for node in result["nodes"]} == {"complete"}
    assert {Path(node["log"]).name for node in result["nodes"]} >= {"Trainer.log", "Pusher.log"}
    assert "Trainer" in project.text(first, "logs/Trainer.log")
    page = project.text(first, "report.html")
    assert "could not be made" not in page
    assert "is not on this machine" not in page

    before = project.names()
    second = project.new_run()
    again = second.all()

    assert again["result"].code == 0, again["result"].text
    states = {node["node"]: node["state"] for node in project.result(second)["nodes"]}
    looked_up = {"AnalyzerCache": "complete", "Baseline": "complete"}
    assert states == dict.fromkeys(states, "cached") | looked_up
    assert list_object_versions(project.served) == [1]
    # A cached node moves no artifact, there or back.
    assert not [n for n in project.names() - before if "/artifacts/" in n]
    assert "fetched gs://" in project.text(first, "logs/Evaluator.log")
    assert not [n for n in states if "fetched gs://" in project.text(second, f"logs/{n}.log")]

    # A local run of the same project, in a workspace and a database of its own.
    server.make("local")
    settings = [
        f"workspace={tmp_path / 'local'}",
        f"metadata={server.address('local', '${env:SECRET}')}",
        f"push.directory={project.served.rpartition('/')[0]}-here",
    ]
    command = [
        sys.executable,
        "-m",
        "ordain.cli.main",
        "run",
        str(project.sandbox.folder),
        "--json",
    ]
    command += [word for setting in settings for word in ("--set", setting)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    here = load_project(project.sandbox.folder, settings=settings)
    served = f"gs://{project.bucket.name}/served"
    texts = {f"{served}-here": "SERVED", served: "SERVED", str(first.workspace / "ml"): "WORK"}
    by_driver = [
        contents(project.history.store, first.run_id, texts),
        contents(
            open_store(here.metadata, here.paths),
            json.loads(ended.stdout)["run_id"],
            {str(here.workspace): "WORK", **texts},
        ),
    ]
    assert differences(*by_driver) == []

    told = "".join(e.text + e.html for e in (*done.values(), *again.values())) + first.plan
    assert postgres.PASSWORD not in told
    assert not [b.name for b in project.bucket.list_blobs() if _holds_password(b)]


def _holds_password(blob: Any) -> bool:
    return postgres.PASSWORD.encode() in blob.download_as_bytes()


def test_killed_uploads_and_a_changed_object_are_tried_again(
    make: Callable[[str], Project],
) -> None:
    project = make("killed")
    dead, run = project.new_run(), project.new_run()
    assert dead.prepare().code == 0
    left = _kill_while_uploading(project, dead, "ExampleGen")
    # What a run that nobody tries again had uploaded goes with the next run's first task.
    begun = run.prepare()
    assert begun.code == 0
    assert f"closed run {dead.run_id}, which ended without closing ExampleGen" in begun.text
    assert left
    assert not left & project.names()
    for name in run.nodes():
        if name in ("ExampleGen", "Trainer"):
            assert _kill_while_uploading(project, run, name)
        if name == "Transform":
            _change_and_restore(project, run)
        done = run.node(name)
        assert done.code == 0, done.text

    ended = run.result()

    assert ended.code == 0, ended.text
    nodes = project.history.read_run(run.run_id).nodes
    assert set(Counter((node.node, node.span) for node in nodes).values()) == {1}
    assert {node.state for node in nodes} == {"complete"}
    assert {a.state for a in project.history.store.get_artifacts()} == {pb.Artifact.LIVE}
    assert list_object_versions(project.served) == [1]
    # The log of the try that failed and of the one after it.
    log = project.text(run, "logs/Transform.log")
    assert "Transform failed" in log
    assert "Execution" in log.rpartition("Transform failed")[2]

    # An artifact that is not whole any more is no cached one: the next run makes it anew.
    (marker,) = (n for n in project.names() if "SchemaGen" in n and n.endswith(MARKER))
    project.bucket.blob(marker).delete()
    after = project.new_run()
    assert after.prepare().code == 0
    for name, state in (("ExampleGen", "cached"), ("StatisticsGen", "cached")):
        assert f"{name} {state}" in after.node(name).text
    assert "SchemaGen complete" in after.node("SchemaGen").text


def _kill_while_uploading(project: Project, run: Pods, name: str) -> set[str]:
    """Kills a node when it has uploaded files, and not yet what makes them whole: their names."""
    before = project.names()
    process = run.start_node(name, pause=f"{name}^")
    run.until_paused(name)
    half = run.mark(name).read_text().removeprefix(f"{run.workspace}/")
    os.kill(process, signal.SIGKILL)
    assert run.wait(name, process).code == -signal.SIGKILL
    left = {found for found in project.names() - before if "/artifacts/" in found}
    assert half not in left
    return left


def _change_and_restore(project: Project, run: Pods) -> None:
    """A node that is given a changed object says which; when it is restored, a retry goes on."""
    (name,) = (n for n in project.names() if n.endswith("/schema.pbtxt") and "SchemaGen" in n)
    blob = project.bucket.blob(name)
    whole = blob.download_as_bytes()
    blob.upload_from_string(whole + b"# changed\n")
    failed = run.node("Transform")
    assert failed.code == 5, failed.text
    changed = f"{name}: changed after its upload: {len(whole) + 10} bytes"
    assert f"gs://{project.bucket.name}/{changed}" in failed.text
    assert "restore it from the bucket's versions" in failed.text
    ended = run.on_exit()
    assert ended.code == 5, ended.text
    failure = project.result(run)["failure"]
    assert failure["node"] == "Transform"
    assert failure["message"] in failed.text
    blob.upload_from_string(whole)


def test_a_bucket_that_is_not_there_ends_the_first_task(make: Callable[[str], Project]) -> None:
    run = make("none").new_run()
    run.bucket = f"{run.bucket}-none"
    try:
        for done in (run.prepare(), run.on_exit()):
            assert done.code == 5, done.text
            assert f"error: gs://{run.bucket}/ml/small/runs/{run.run_id}" in done.text
            assert "404" in done.text
            assert "next: make the bucket, or correct the address" in done.text
    finally:
        shutil.rmtree(run.workspace, ignore_errors=True)
