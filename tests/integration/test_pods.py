"""The chain in pods: each task a real process of the entrypoint, on a real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import postgres
import pytest
from metadata_contents import contents
from ml_metadata.proto import metadata_store_pb2 as pb
from pods import ROOT, Host, PodRun, hosting
from sandbox import Sandbox, good_rows, write_csv
from webhook import hooked

from ordain.config.loading import load_project
from ordain.history.runs import History
from ordain.metadata.store import open_store

HEADER = ["x", "c", "y"]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosting() as running:
        yield running


@pytest.fixture
def pods(
    small: Callable[..., Sandbox],
    server: postgres.Server,
    host: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., tuple[Sandbox, Callable[[], PodRun]]]]:
    """Makes a project whose ML Metadata is a fresh database, and what starts runs of it."""
    monkeypatch.setenv("SECRET", postgres.PASSWORD)

    def make(name: str, *args: Any, **settings: Any) -> tuple[Sandbox, Callable[[], PodRun]]:
        server.make(name)
        sandbox = small(*args, metadata=server.address(name, "${env:SECRET}"), **settings)

        def run() -> PodRun:
            return PodRun(sandbox.folder, tmp_path / "out", host, {"SECRET": postgres.PASSWORD})

        return sandbox, run

    yield make


def run_here(sandbox: Sandbox, *settings: str, code: int = 0) -> dict[str, Any]:
    """A local run in a process of its own; returns its result."""
    options = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "ordain.cli.main", "run", str(sandbox.folder), "--json"]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == code, done.stderr
    return dict(json.loads(done.stdout))


def history(sandbox: Sandbox) -> History:
    project = load_project(sandbox.folder)
    return History(project.metadata, project.name, project.paths)


def result_of(sandbox: Sandbox, run: PodRun) -> dict[str, Any]:
    path = load_project(sandbox.folder).runs / run.run_id / "result.json"
    return json.loads(path.read_text())


def launches(sandbox: Sandbox, run: PodRun) -> Counter[tuple[str, int | None]]:
    nodes = history(sandbox).read_run(run.run_id).nodes
    return Counter((node.node, node.span) for node in nodes)


def test_a_run_its_repetition_and_a_local_run_of_the_same(
    pods: Any, small: Callable[..., Sandbox], server: postgres.Server, tmp_path: Path
) -> None:
    spans = {1: good_rows(300), 2: good_rows(350)}
    sandbox, new_run = pods("plain", spans)
    first = new_run()

    done = first.all()

    assert done["result"].code == 0, done["result"].text
    assert "version 1, stable" in done["result"].text
    assert sandbox.versions == ["1"]
    result = result_of(sandbox, first)
    assert (result["exit_code"], result["version"], result["window"]) == (0, 1, [1, 2])
    assert {node["state"] for node in result["nodes"]} == {"complete"}
    assert done["ExampleGen"].metrics["rows"] == 650
    assert done["Evaluator"].metrics["auc.min"] == pytest.approx(
        result["verdicts"][1]["reasons"][0]["measured"]
    )
    assert "<h1>ExampleGen: complete</h1>" in done["ExampleGen"].html

    # The same once more, by other pods: nothing runs, nothing new is pushed.
    second = new_run()
    again = second.all()
    assert again["result"].code == 0, again["result"].text
    states = {node["node"]: node["state"] for node in result_of(sandbox, second)["nodes"]}
    looked_up = {"AnalyzerCache": "complete", "Baseline": "complete"}
    assert states == dict.fromkeys(states, "cached") | looked_up
    assert "nothing new: version 1" in again["result"].text
    assert sandbox.versions == ["1"]

    # A local run of the same project, in a workspace and a database of its own.
    local = str(tmp_path / "local")
    server.make("local")
    settings = [f"workspace={local}", f"metadata={server.address('local', '${env:SECRET}')}"]
    here = [run_here(sandbox, *settings)["run_id"] for _ in range(2)]
    by_driver = []
    for project, runs in (
        (load_project(sandbox.folder), (first.run_id, second.run_id)),
        (load_project(sandbox.folder, settings=settings), here),
    ):
        store = open_store(project.metadata, project.paths)
        paths = {str(project.workspace): "WORK"}
        by_driver.append([contents(store, run_id, paths) for run_id in runs])
    for in_pods, on_one_machine in zip(*by_driver, strict=True):
        for kind in {*in_pods, *on_one_machine}:
            assert in_pods.get(kind) == on_one_machine.get(kind), kind

    # The page is the local run's, made of this run, in the run's folder and as Kubeflow's artifact.
    page = load_project(sandbox.folder).runs / first.run_id / "report.html"
    assert done["result"].html == page.read_text()
    assert first.run_id in done["result"].html
    # And the task that follows everything finds nothing left to do.
    before = page.stat().st_mtime_ns
    ending = first.on_exit()
    assert ending.code == 0, ending.text
    assert "nothing new" not in ending.text
    assert "version 1, stable" in ending.html
    assert page.stat().st_mtime_ns == before
    assert result_of(sandbox, first) == result

    # What is on the page, in a file or in the database holds no password.
    told = "".join(e.text + e.html for e in (*done.values(), *again.values())) + first.plan
    assert postgres.PASSWORD not in told
    for path in sandbox.folder.rglob("*"):
        if path.is_file():
            assert postgres.PASSWORD.encode() not in path.read_bytes(), path
    shown = subprocess.run(
        [sys.executable, "-m", "ordain.cli.main", "runs", "list", str(sandbox.folder), "--json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    listed = json.loads(shown.stdout)
    assert [row["run"] for row in listed] == [second.run_id, first.run_id]
    assert "nothing new" in listed[0]["headline"]


def test_killed_terminated_and_retried_pods_leave_one_execution_for_each_node(pods: Any) -> None:
    sandbox, new_run = pods("retried")
    run = new_run()
    assert run.prepare().code == 0
    # Before the executor, after it and before the record, and more than once in one node. In a
    # resolver, which has no executor: before what it found is published, and after.
    broken = {
        "ExampleGen": ["ExampleGen-"],
        "StatisticsGen": ["TERM StatisticsGen-"],
        "AnalyzerCache": ["AnalyzerCache-", "TERM AnalyzerCache-", "AnalyzerCache"],
        "Baseline": ["Baseline-", "Baseline"],
        "Trainer": ["Trainer", "Trainer-", "TERM Trainer-"],
        "Pusher": ["Pusher"],
    }
    for name in run.nodes():
        for how in broken.get(name, []):
            number = signal.SIGTERM if how.startswith("TERM ") else signal.SIGKILL
            pid = run.start_node(name, pause=how.removeprefix("TERM "))
            run.until_paused(name)
            run.mark(name).unlink()
            os.kill(pid, number)
            ended = run.wait(name, pid)
            if number == signal.SIGKILL:
                assert ended.code == -signal.SIGKILL
            else:
                assert ended.code == 5, ended.text
                assert "the pod received SIGTERM" in ended.text
                if name == "StatisticsGen":
                    assert run.on_exit().code == 5
                    failure = result_of(sandbox, run)["failure"]
                    assert failure["node"] == "StatisticsGen, span 1"
                    assert "the pod received SIGTERM" in failure["message"]
        done = run.node(name)
        assert done.code == 0, done.text
        # A retry of a pod that had finished finds what it did.
        if name in ("ExampleGen", "Baseline"):
            assert run.node(name).code == 0

    ended = run.result()

    assert ended.code == 0, ended.text
    assert set(launches(sandbox, run).values()) == {1}
    nodes = history(sandbox).read_run(run.run_id).nodes
    assert {node.state for node in nodes} == {"complete"}
    assert sandbox.versions == ["1"]
    assert result_of(sandbox, run)["version"] == 1
    store = history(sandbox).store
    assert {a.state for a in store.get_artifacts()} == {pb.Artifact.LIVE}


def test_behind_a_blocked_gate_pods_skip_and_the_result_is_red(pods: Any) -> None:
    sandbox, new_run = pods("blocked", {1: good_rows(), 2: good_rows()}, schema_file="kept.pbtxt")
    (sandbox.folder / "kept.pbtxt").write_text(SCHEMA)
    write_csv(sandbox.data / "2" / "rows.csv", [[x, y] for x, _, y in good_rows()], ["x", "y"])
    run = new_run()

    assert run.prepare().code == 0
    ended = {name: run.node(name) for name in run.nodes()}
    result = run.result()

    assert {done.code for done in ended.values()} == {0}, [e.text for e in ended.values()]
    assert "Trainer skipped: the data gate blocked" in ended["Trainer"].text
    assert "<h1>Trainer: skipped</h1>" in ended["Trainer"].html
    assert result.code == 3, result.text
    assert "the data gate blocked this run" in result.text
    assert sandbox.versions == []
    states = {node["node"]: node["state"] for node in result_of(sandbox, run)["nodes"]}
    assert (states["DataGate"], states["Trainer"], states["Pusher"]) == (
        "complete",
        "skipped",
        "skipped",
    )


BREAKABLE = """

_run_fn = run_fn


def run_fn(fn_args):
    if pathlib.Path({path!r}).exists():
        raise ValueError("no good today")
    _run_fn(fn_args)
"""
#: Of a result: times, ids and places, and what nobody measures in a pod.
OTHERWISE = {"run_id", "started", "seconds", "peak_rss_bytes"}
OTHERWISE_OF_NODE = {
    *("seconds", "execution_ids", "log", "cpu_s", "peak_rss_bytes", "bytes_written"),
    "rows_per_s",
}


def break_training(sandbox: Sandbox) -> Path:
    """Lets the Trainer fail as long as a file is there; the source stays the same."""
    model, broken = sandbox.folder / "model.py", sandbox.folder / "broken"
    broken.touch()
    model.write_text(f"import pathlib\n{model.read_text()}{BREAKABLE.format(path=str(broken))}")
    return broken


def run_well(run: PodRun, names: list[str]) -> None:
    for name in names:
        assert run.node(name).code == 0


def kill_node(run: PodRun, name: str) -> None:
    """Starts a node and kills it before its executor."""
    pid = run.start_node(name, pause=f"{name}-")
    run.until_paused(name)
    os.kill(pid, signal.SIGKILL)
    assert run.wait(name, pid).code == -signal.SIGKILL


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    """A failed run's result as far as it is the same wherever it ran."""
    nodes = [
        {key: value for key, value in node.items() if key not in OTHERWISE_OF_NODE}
        for node in result["nodes"]
    ]
    kept = {key: value for key, value in result.items() if key not in OTHERWISE}
    # It names the log, in the run's folder.
    hint = result["failure"]["hint"].rpartition("/")[2]
    return {**kept, "nodes": nodes, "failure": {**result["failure"], "hint": hint}}


def test_a_failed_run_is_told_as_a_local_one_and_what_a_retry_changes(
    pods: Any, server: postgres.Server, tmp_path: Path
) -> None:
    sandbox, new_run = pods("failed")
    broken = break_training(sandbox)
    with hooked() as hook:
        every = ["failed", "blocked", "blessed", "published"]
        sandbox.set(notify=[{"on": every, "webhook": hook.address}])
        run = new_run()
        assert run.prepare().code == 0
        names = run.nodes()
        run_well(run, names[: names.index("Trainer")])
        assert run.node("Trainer").code == 1
        assert not (load_project(sandbox.folder).runs / run.run_id / "result.json").exists()

        ended = run.on_exit()

        assert ended.code == 1, ended.text
        assert "Trainer failed: ValueError: no good today" in ended.text
        failed = result_of(sandbox, run)
        here = load_project(sandbox.folder).runs / run.run_id
        assert ended.html == (here / "report.html").read_text()
        (told,) = hook.got
        assert told["body"]["id"] == f"{run.run_id}-failed"
        assert told["body"]["headline"] == failed["headline"]

        # The same once more, and the same failure of a local run.
        assert run.on_exit().code == 1
        assert len(hook.got) == 1
        server.make("failed_here")
        metadata = f"metadata={server.address('failed_here', '${env:SECRET}')}"
        local = run_here(sandbox, f"workspace={tmp_path / 'here'}", metadata, code=1)
        (_, by_hand) = hook.got
        assert comparable(failed) == comparable(local)
        assert set(failed) == set(local)
        for key in ("event", "headline", "exit_code"):
            assert by_hand["body"][key] == told["body"][key], key
        assert set(by_hand["body"]) == set(told["body"])

        # Another run looks through it, and finds it at rest; it is not over for good.
        other = new_run().prepare()
        assert (other.code, run.run_id in other.text) == (0, False)

        # Tried again as a whole, under the same id: another node is killed for good.
        broken.unlink()
        run_well(run, names[names.index("Trainer") : names.index("Pusher")])
        kill_node(run, "Pusher")
        assert run.on_exit().code == 5
        assert result_of(sandbox, run)["failure"]["node"] == "Pusher"
        assert [one["body"]["id"] for one in hook.got[2:]] == [
            f"{run.run_id}-blessed",
            f"{run.run_id}-failed-2",
        ]

        idle = new_run()
        closed = f"closed run {run.run_id}, which ended without closing Pusher"
        assert closed in idle.prepare().text

        # And once more, to a good end.
        assert run.node("Pusher").code == 0
        assert run.result().code == 0
        assert run.on_exit().code == 0
        assert result_of(sandbox, run)["version"] == 1
        assert set(launches(sandbox, run).values()) == {1}
        assert [one["body"]["id"] for one in hook.got[4:]] == [f"{run.run_id}-published"]

        # Of a run whose pods never came there is no node to tell of.
        assert idle.on_exit().code == 5
        assert result_of(sandbox, idle)["nodes"] == []
        assert "ExampleGen failed: its task never started" in hook.got[5]["body"]["headline"]


def test_a_run_that_could_not_be_prepared_is_told_and_red(pods: Any) -> None:
    sandbox, new_run = pods("unprepared")
    with hooked() as hook:
        sandbox.set(notify=[{"on": ["failed"], "webhook": hook.address}])
        run = new_run()
        refused = run.prepare(span="7")
        assert refused.code == 2, refused.text
        said = refused.text.splitlines()[0].removeprefix("error: ")

        for _ in range(2):
            ended = run.on_exit()
            assert ended.code == 2
            assert f"error: prepare: {said}" in ended.text
        (told,) = hook.got
        assert told["body"]["headline"] == f"prepare: {said}"
        assert (told["body"]["id"], told["body"]["exit_code"]) == (f"{run.run_id}-failed", 2)

        # No pod of it at all, as where the image cannot be pulled.
        other = new_run()
        assert other.on_exit().code == 5
        assert "its task never started" in hook.got[1]["body"]["headline"]


def test_ten_pods_at_once_on_a_fresh_database(pods: Any) -> None:
    sandbox, new_run = pods("ten")
    runs = [new_run() for _ in range(10)]

    started = [(run, run.start("prepare", *run.prepare_words())) for run in runs]
    ended = [run.prepared(run.wait("prepare", process)) for run, process in started]

    assert [done.code for done in ended] == [0] * 10, [done.text for done in ended]
    store = history(sandbox).store
    for kinds in (store.get_artifact_types, store.get_execution_types, store.get_context_types):
        names = Counter(kind.name for kind in kinds())
        assert set(names.values()) == {1}, names
    contexts = Counter((context.type, context.name) for context in store.get_contexts())
    assert set(contexts.values()) == {1}
    assert sum(kind == "pipeline_run" for kind, _ in contexts) == 10

    # And ten nodes at once, each in a run of its own.
    nodes = [(run, run.start_node("ExampleGen")) for run in runs]
    done = [run.wait("ExampleGen", process) for run, process in nodes]
    assert [one.code for one in done] == [0] * 10, [one.text for one in done]
    for run in runs:
        assert launches(sandbox, run) == {("ExampleGen", 1): 1}
    assert {e.last_known_state for e in store.get_executions()} <= {
        pb.Execution.COMPLETE,
        pb.Execution.CACHED,
    }


def test_the_next_run_closes_what_a_dead_pod_left_and_nothing_of_the_living(pods: Any) -> None:
    sandbox, new_run = pods("dead")
    dead, alive, after = new_run(), new_run(), new_run()
    for run in (dead, alive):
        assert run.prepare().code == 0
    pid = dead.start_node("ExampleGen", pause="ExampleGen-")
    other = alive.start_node("ExampleGen", pause="ExampleGen-")
    for run in (dead, alive):
        run.until_paused("ExampleGen")
    os.kill(pid, signal.SIGKILL)
    dead.wait("ExampleGen", pid)

    ended = after.prepare()

    assert ended.code == 0, ended.text
    assert f"closed run {dead.run_id}, which ended without closing ExampleGen span 1" in ended.text
    assert alive.run_id not in ended.text

    def state(run: PodRun) -> str:
        (node,) = history(sandbox).read_run(run.run_id).nodes
        return node.state

    assert (state(dead), state(alive)) == ("failed", "running")
    os.kill(other, signal.SIGKILL)
    alive.wait("ExampleGen", other)
    # Kubeflow may still try the dead one again.
    assert dead.node("ExampleGen").code == 0
    assert state(dead) == "complete"


_FEATURE = (
    'feature {{ name: "{}" type: {} presence {{ min_fraction: 1 min_count: 1 }} '
    "shape {{ dim {{ size: 1 }} }} }}"
)
SCHEMA = "\n".join(_FEATURE.format(*of) for of in (("x", "FLOAT"), ("c", "BYTES"), ("y", "INT")))
