"""A project compiled for a cluster and simulated, two tasks at a time, against a real PostgreSQL.

Each task is a process that imports TensorFlow and TFX by itself, as a pod does: a simulation of
this tiny project takes a minute on two quiet cores. `python -m benchmarks.simulation` does the same
with the flights.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import postgres
import pytest
from metadata_contents import contents, differences
from sandbox import Sandbox, good_rows, write_csv
from webhook import hooked

from ordain.config.loading import load_project
from ordain.history.runs import History
from ordain.metadata.store import open_store

pytestmark = pytest.mark.timeout(1800)
HEADER = ["x", "c", "y"]


class Cluster:
    """A project that is compiled for a cluster and simulated, and what that came to."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self._file = folder / "compiled.yaml"
        self._root = folder / "simulations"
        self._call("compile", sandbox.folder, "-o", self._file)

    def compile_again(self, **settings: Any) -> None:
        """Compiles it with other settings."""
        self.sandbox.set(**settings)
        self._call("compile", self.sandbox.folder, "-o", self._file)

    def simulate(self, *options: str) -> dict[str, Any]:
        """One simulation's report, its exit code checked against the process's."""
        given = ("--parallel", "2", "--secret", "database.password=SECRET", "--json", "--no-wait")
        done = self._call("simulate", self._file, *given, "--root", self._root, *options)
        report: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == report["exit_code"]
        assert postgres.PASSWORD not in done.stdout + done.stderr
        return report

    def run_here(self, *settings: str) -> str:
        """A run on this machine; its id. A process of its own, as the tasks are."""
        words = [word for setting in settings for word in ("--set", setting)]
        return json.loads(self._call("run", self.sandbox.folder, "--json", *words).stdout)["run_id"]

    def result(self, report: dict[str, Any]) -> dict[str, Any]:
        """The run's result.json."""
        runs = load_project(self.sandbox.folder).runs
        return json.loads((runs / report["run_id"] / "result.json").read_text())

    def page(self, report: dict[str, Any]) -> Path:
        """The run's page."""
        return load_project(self.sandbox.folder).runs / report["run_id"] / "report.html"

    def launches(self, report: dict[str, Any]) -> Counter[tuple[str, int | None]]:
        project = load_project(self.sandbox.folder)
        run = History(project.metadata, project.name, project.paths).read_run(report["run_id"])
        return Counter((node.node, node.span) for node in run.nodes)

    def _call(self, *words: Any) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "ordain.cli.main", *map(str, words)],
            check=False,
            capture_output=True,
            text=True,
        )
        assert words[0] == "simulate" or done.returncode == 0, done.stderr
        return done


@pytest.fixture
def cluster(
    small: Callable[..., Sandbox],
    server: postgres.Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Cluster]:
    """Compiles the small project over spans 1 and 2, with a database of its own."""
    monkeypatch.setenv("SECRET", postgres.PASSWORD)

    def make(database: str, **settings: Any) -> Cluster:
        server.make(database)
        spans = {1: good_rows(300), 2: good_rows(350)}
        address = server.address(database, "${env:SECRET}")
        sandbox = small(spans, metadata=address, **settings)
        section = {
            "image": "registry.example.org/small:1",
            "project": str(sandbox.folder),
            "volumes": [{"claim": "project", "path": str(sandbox.folder)}],
            "secrets": [{"name": "database", "key": "password", "env": "SECRET"}],
            "defaults": {"retries": {"count": 1, "backoff_s": 5}},
        }
        sandbox.set(kubeflow=section)
        return Cluster(sandbox, tmp_path)

    return make


def states(report: dict[str, Any]) -> dict[str, str]:
    return {task["name"]: task["state"] for task in report["tasks"]}


def told(report: dict[str, Any]) -> str:
    """Every log of a simulation, for a failed assertion."""
    logs = [Path(a["log"]) for task in report["tasks"] for a in task["attempts"]]
    return "\n".join(f"== {log}\n{log.read_text()}" for log in logs)


def test_runs_of_a_cluster_month_after_month(
    cluster: Callable[..., Cluster], server: postgres.Server, tmp_path: Path
) -> None:
    """One history, as each simulation takes a minute: cold, cached, killed, blocked, refused."""
    # Texts that Argo, KFP's launcher or Kubernetes would make something else of on their way.
    parameters = {
        "learning_rate": 0.1,
        "dollars": "$$ $$$ $(HOME) $$(HOME) $HOME a$",
        "braces": "{{$}} {{$.inputs.parameters['run_id']}} {{workflow.name}} {{{x}}}",
    }
    compiled = cluster("simulated", train={"parameters": parameters})
    first = cold_run(compiled)
    plan = json.loads(compiled.page(first).with_name("run_plan.json").read_text())
    assert plan["config"]["train"]["parameters"] == parameters
    second = cached_run(compiled)
    server.make("local")
    settings = [
        f"workspace={tmp_path / 'local'}",
        f"metadata={server.address('local', '${env:SECRET}')}",
    ]
    are_as_on_one_machine(compiled, [first["run_id"], second["run_id"]], settings)
    next_span_with_a_killed_trainer(compiled)
    blocked_span(compiled)
    run_that_cannot_be_prepared(compiled)

    # No file of the project or of the simulations holds the password.
    for path in (*compiled.sandbox.folder.rglob("*"), *tmp_path.glob("simulations/**/*")):
        if path.is_file():
            assert postgres.PASSWORD.encode() not in path.read_bytes(), path


def cold_run(compiled: Cluster) -> dict[str, Any]:
    """Every task succeeds at once, with its page and its metrics."""
    report = compiled.simulate()
    assert set(states(report).values()) == {"succeeded"}, told(report)
    assert compiled.sandbox.versions == ["1"]
    result = compiled.result(report)
    assert (result["exit_code"], result["version"], result["window"]) == (0, 1, [1, 2])
    assert {len(task["attempts"]) for task in report["tasks"]} == {1}
    pages = [task["artifacts"]["html"] for task in report["tasks"]]
    assert all(Path(page["uri"]).read_text().startswith("<!") for page in pages)
    evaluator = next(task for task in report["tasks"] if task["name"] == "evaluator")
    assert evaluator["artifacts"]["metrics"]["metadata"]["auc.min"] > 0.8
    return report


def cached_run(compiled: Cluster) -> dict[str, Any]:
    """The same again does nothing anew."""
    report = compiled.simulate()
    assert set(states(report).values()) == {"succeeded"}, told(report)
    nodes = {node["node"]: node["state"] for node in compiled.result(report)["nodes"]}
    # Resolvers look up and are never cached.
    looked_up = {"AnalyzerCache": "complete", "Baseline": "complete"}
    assert nodes == dict.fromkeys(nodes, "cached") | looked_up
    assert compiled.sandbox.versions == ["1"]
    return report


def are_as_on_one_machine(compiled: Cluster, runs: list[str], settings: list[str]) -> None:
    """Runs here, in a workspace and a database of their own, leave the same in ML Metadata."""
    here = [compiled.run_here(*settings) for _ in runs]
    folder = compiled.sandbox.folder
    by_driver = []
    for project, ids in (
        (load_project(folder), runs),
        (load_project(folder, settings=settings), here),
    ):
        store = open_store(project.metadata, project.paths)
        paths = {str(project.workspace): "WORK"}
        by_driver.append([contents(store, run_id, paths) for run_id in ids])
    for cluster_run, local_run in zip(*by_driver, strict=True):
        assert differences(cluster_run, local_run) == []


def next_span_with_a_killed_trainer(compiled: Cluster) -> None:
    """The window moves in the same compiled file, and the killed task is tried again."""
    write_csv(compiled.sandbox.data / "3" / "rows.csv", good_rows(400), HEADER)
    # The line comes when ML Metadata has the execution, and the training is about to start.
    report = compiled.simulate("--inject", "trainer:kill@~Going to run a new execution")
    assert set(states(report).values()) == {"succeeded"}, told(report)
    attempts = next(task["attempts"] for task in report["tasks"] if task["name"] == "trainer")
    assert [attempt["exit_code"] for attempt in attempts] == [137, 0]
    launches = compiled.launches(report)
    assert set(launches.values()) == {1}
    assert {span for node, span in launches if node == "ExampleGen"} == {2, 3}
    result = compiled.result(report)
    assert (result["exit_code"], result["window"], result["version"]) == (0, [2, 3], 2)
    assert compiled.sandbox.versions == ["1", "2"]


def blocked_span(compiled: Cluster) -> None:
    """A span without the column c, which the schema of the spans before it asks for."""
    write_csv(compiled.sandbox.data / "4" / "rows.csv", [[x, y] for x, _, y in good_rows()], "xy")
    report = compiled.simulate()
    assert report["exit_code"] == 3, told(report)
    failed = [name for name, state in states(report).items() if state == "failed"]
    assert failed == ["result", "on-exit"]
    assert "data" in compiled.result(report)["headline"]
    assert compiled.page(report).is_file()


def run_that_cannot_be_prepared(compiled: Cluster) -> None:
    """Nothing comes to run but what tells of it, and whom."""
    with hooked() as hook:
        compiled.compile_again(notify=[{"on": ["failed"], "webhook": hook.address}])
        report = compiled.simulate("--param", "span=99")
    assert report["exit_code"] == 2, told(report)
    ended = {name for name, state in states(report).items() if state != "not started"}
    assert ended == {"prepare", "on-exit"}
    (notice,) = hook.got
    assert notice["body"]["headline"].startswith("prepare: ")
    assert compiled.sandbox.versions == ["1", "2"]
