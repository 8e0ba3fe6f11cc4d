"""A run of the chain in pods, without a cluster: a process of the entrypoint for each task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.chain import chain_of
from pipeline.loading import load_unresolved, read_effective
from pipeline.source import fingerprint

ROOT = Path(__file__).resolve().parents[2]


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
    environment: Mapping[str, str]
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    plan: str = ""

    def prepare(self, *settings: str, span: str = "", root: str = "") -> Ended:
        raw, _ = read_effective(self.project)
        raw.pop("kubeflow", None)
        chain = json.dumps(chain_of(load_unresolved(self.project)))
        done = self.run(
            "prepare",
            "prepare",
            *("--project", str(self.project), "--config", json.dumps(raw)),
            *("--source", fingerprint(self.project), "--chain", chain, "--span", span),
            *("--settings", json.dumps(settings) if settings else "", "--pipeline-root", root),
            *("--plan-output", str(self.out("prepare") / "plan")),
        )
        if done.code == 0:
            self.plan = (self.out("prepare") / "plan").read_text()
        return done

    def nodes(self) -> list[str]:
        """The chain's nodes, in its order."""
        chain = json.loads(Path(json.loads(self.plan)["uri"]).read_text())
        return [node["pipeline_node"]["node_info"]["id"] for node in chain["ir"]["nodes"]]

    def node(self, name: str) -> Ended:
        return self.run(name, "node", "--node", name, "--plan", self.plan)

    def result(self) -> Ended:
        return self.run("result", "result", "--plan", self.plan)

    def all(self, *settings: str) -> dict[str, Ended]:
        """Every task in order; a task that fails ends the run, as in Kubeflow."""
        done = {"prepare": self.prepare(*settings)}
        assert done["prepare"].code == 0, done["prepare"].text
        for name in self.nodes():
            done[name] = self.node(name)
            assert done[name].code == 0, done[name].text
        done["result"] = self.result()
        return done

    def out(self, task: str) -> Path:
        return self.folder / self.run_id / task

    def start(self, task: str, *words: str) -> subprocess.Popen[str]:
        """A task's process; its text goes to a file, so that nobody has to read it."""
        out = self.out(task)
        out.mkdir(parents=True, exist_ok=True)
        told = {"outputs": {"outputFile": str(out / "executor_output.json")}}
        command = [sys.executable, "-m", "kubeflow.entrypoint", *words, "--run-id", self.run_id]
        command += ["--html", str(out / "html"), "--executor-input", json.dumps(told)]
        with (out / "log").open("a") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
            )

    def run(self, task: str, *words: str) -> Ended:
        out = self.out(task)
        code = self.start(task, *words).wait()
        page, numbers = out / "html", out / "executor_output.json"
        told = json.loads(numbers.read_text())["artifacts"]["metrics"] if numbers.exists() else {}
        return Ended(
            code,
            (out / "log").read_text(errors="replace"),
            page.read_text() if page.exists() else "",
            told["artifacts"][0]["metadata"] if told else {},
        )
