"""Runs of the pipeline in pods, without a cluster: a process of the entrypoint for each task."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ordain.config.loading import load_unresolved
from ordain.pipeline.topology import topology_of
from ordain.project.source import image_fingerprint

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 300


class Host:
    """Starts tasks as processes forked from one that has imported TFX (`warm_pods.py`)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, **what: Any) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextlib.contextmanager
def hosting() -> Iterator[Host]:
    """A host, which ends with everything that it started."""
    support = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, str(support / "warm_pods.py")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(support)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "0\n"
        yield Host(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@dataclass
class Ended:
    """A task that ended."""

    code: int
    text: str
    html: str
    metrics: dict[str, float]


@dataclass
class PodRun:
    """One run: its id, and what its tasks are told."""

    project: Path
    folder: Path
    host: Host
    environment: Mapping[str, str] = field(default_factory=dict)
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    plan: str = ""

    def prepare_words(self, *settings: str, span: str = "", root: str = "", **other: str) -> Any:
        project = load_unresolved(self.project)
        config = {key: value for key, value in project.effective.items() if key != "kubeflow"}
        told = {
            "project": str(self.project),
            "config": json.dumps(config),
            "source": image_fingerprint(self.project, project.schema_file),
            "nodes": json.dumps(topology_of(project)),
            "span": span,
            "settings": json.dumps(settings) if settings else "",
            "pipeline-root": root,
            "plan-output": str(self.out("prepare") / "plan"),
            **other,
        }
        return ["prepare", *(w for key, value in told.items() for w in (f"--{key}", value))]

    def prepare(self, *settings: str, **told: str) -> Ended:
        done = self.wait("prepare", self.start("prepare", *self.prepare_words(*settings, **told)))
        return self.prepared(done)

    def prepared(self, done: Ended) -> Ended:
        if done.code == 0:
            self.plan = (self.out("prepare") / "plan").read_text()
        return done

    def nodes(self) -> list[str]:
        """The pipeline's nodes, in order."""
        prepared = json.loads(Path(json.loads(self.plan)["uri"]).read_text())
        return [node["pipeline_node"]["node_info"]["id"] for node in prepared["ir"]["nodes"]]

    def start_node(self, name: str, pause: str = "") -> int:
        """A node's process; `pause` is the node as `paused_runs.pause` takes it."""
        told = {"pause": pause, "mark": str(self.mark(name))} if pause else {}
        return self.start(name, "node", "--node", name, "--plan", self.plan, **told)

    def node(self, name: str) -> Ended:
        return self.wait(name, self.start_node(name))

    def result(self) -> Ended:
        return self.wait("result", self.start("result", "result", "--plan", self.plan))

    def on_exit(self) -> Ended:
        """The task that runs after everything, also where `prepare` failed."""
        told = iter(self.prepare_words()[1:])
        words = {"--project", "--config", "--settings", "--pipeline-root"}
        given = [w for pair in zip(told, told, strict=True) if pair[0] in words for w in pair]
        return self.wait("on-exit", self.start("on-exit", "on-exit", *given))

    def all(self, *settings: str) -> dict[str, Ended]:
        """Every task in order; a task that fails ends the run, as in Kubeflow."""
        done = {"prepare": self.prepare(*settings)}
        assert done["prepare"].code == 0, done["prepare"].text
        for name in self.nodes():
            done[name] = self.node(name)
            assert done[name].code == 0, done[name].text
        return done | {"result": self.result()}

    def out(self, task: str) -> Path:
        return self.folder / self.run_id / task

    def mark(self, task: str) -> Path:
        return self.out(task) / "mark"

    def until_paused(self, task: str) -> None:
        """Waits until a task stands where it was to stop."""
        deadline = time.monotonic() + TIMEOUT_S
        while not self.mark(task).exists():
            assert time.monotonic() < deadline, (self.out(task) / "log").read_text()
            time.sleep(0.05)

    def words(self, task: str, *words: str) -> list[str]:
        out = self.out(task)
        out.mkdir(parents=True, exist_ok=True)
        told = {"outputs": {"outputFile": str(out / "executor_output.json")}}
        shown = ["--html", str(out / "html"), "--executor-input", json.dumps(told)]
        return [*words, "--run-id", self.run_id, *shown]

    def start(self, task: str, *words: str, **told: str) -> int:
        made = self.words(task, *words)
        log = str(self.out(task) / "log")
        return self.host.ask(words=made, environment=dict(self.environment), log=log, **told)

    def wait(self, task: str, process: int) -> Ended:
        return self.ended(task, self.host.ask(wait=process))

    def ended(self, task: str, code: int) -> Ended:
        """Outputs of a task."""
        out = self.out(task)
        page, numbers = out / "html", out / "executor_output.json"
        told = json.loads(numbers.read_text())["artifacts"]["metrics"] if numbers.exists() else {}
        return Ended(
            code,
            (out / "log").read_text(errors="replace"),
            page.read_text() if page.exists() else "",
            told["artifacts"][0]["metadata"] if told else {},
        )
