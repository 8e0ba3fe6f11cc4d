"""Retraining with real runs: data comes, comes late, comes corrupt, and nothing comes."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sandbox import Sandbox, good_rows, states, write_csv

from ordain.config.loading import load_project
from ordain.history.results import RunResult
from ordain.retraining.decision_log import read_decisions
from ordain.retraining.retrain import RetrainResult, retrain_once
from ordain.retraining.types import Decision
from ordain.runner.workspace_lock import workspace_lock

ORDAIN = str(Path(sys.executable).parent / "ordain")
HEAVY = ("tensorflow", "tfx", "apache_beam", "keras", "tfx_bsl", "tensorflow_data_validation")
#: Runs a command and says, on the last line, which heavy packages it imported.
WATCHED = f"""
import sys
from ordain.cli.main import main
sys.argv = ["ordain", *sys.argv[1:]]
try:
    main()
except SystemExit as stop:
    found = sorted({{m.partition(".")[0] for m in sys.modules}} & set({HEAVY!r}))
    print("EXIT", stop.code, "HEAVY", *found)
"""
HEADER = ["x", "c", "y"]


class Watcher:
    """Retrains a sandbox's project in this process."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.decisions: list[Decision] = []

    def __call__(self, *settings: str, **options: Any) -> RetrainResult:
        project = load_project(self.sandbox.folder, settings=settings)
        return retrain_once(project, self, **options)

    def decided(self, decision: Decision) -> None:
        self.decisions.append(decision)

    def waiting(self, holder: str) -> None:
        raise AssertionError(f"nobody holds the workspace, and yet it is {holder}")

    @contextlib.contextmanager
    def running(self, window: tuple[int, ...]) -> Iterator[Sandbox]:
        yield self.sandbox

    def ended(self, result: RunResult) -> None:
        pass


def said(outcome: RetrainResult) -> tuple[str, set[str], list[tuple[int, ...]]]:
    """Action, kinds of the reasons for and against a run, windows."""
    decision = outcome.decision
    kinds = {reason.kind for reason in decision.reasons if reason.effect != "note"}
    return str(decision.action), kinds, [run.window for run in outcome.runs]


@pytest.fixture
def versioned(small: Callable[..., Sandbox]) -> Sandbox:
    """The small project with spans of several versions, and span 1 there."""
    sandbox = small(
        {},
        data={"pattern": "{SPAN}/v{VERSION}/*.csv"},
        # Enough for every model to be blessed, whatever it began with.
        train={"steps": 200, "parameters": {"learning_rate": 0.5}},
    )
    bring(sandbox, 1)
    return sandbox


def bring(sandbox: Sandbox, span: int, version: int = 1, **changes: Any) -> Path:
    """Delivers a version of a span: good rows, unless `rows` or `header` say otherwise."""
    rows = changes.get("rows", good_rows(300 + span))
    path = sandbox.data / str(span) / f"v{version}" / "rows.csv"
    return write_csv(path, rows, changes.get("header", HEADER))


def test_data_comes_late_corrupt_and_not_at_all(versioned: Sandbox) -> None:
    retrain = Watcher(versioned)

    assert said(retrain()) == ("run", {"first"}, [(1,)])
    assert said(retrain()) == ("nothing", set(), [])
    bring(versioned, 2)
    assert said(retrain()) == ("run", {"new_span"}, [(1, 2)])
    assert versioned.versions == ["1", "2"]

    # Late: a new version of an old span.
    bring(versioned, 1, version=2, rows=good_rows(500))
    late = retrain()
    assert said(late) == ("run", {"late_data"}, [(1, 2)])
    assert states(late.runs[0])["Trainer"] == "complete"
    assert said(retrain()) == ("nothing", set(), [])

    # Corrupt: a column is missing. It is blocked once, and not tried again.
    bring(versioned, 3, rows=[[x, y] for x, _, y in good_rows()], header=["x", "y"])
    blocked = retrain()
    assert said(blocked) == ("run", {"new_span"}, [(2, 3)])
    assert blocked.exit_code == 3
    for _ in range(2):
        held = retrain()
        assert said(held) == ("wait", {"new_span", "blocked"}, [])
        assert held.exit_code == 0
    bring(versioned, 4)
    assert said(retrain()) == ("wait", {"new_span", "blocked"}, [])
    assert versioned.versions == ["1", "2", "3"]

    # Repaired by a new version, both are caught up in their order.
    bring(versioned, 3, version=2)
    caught_up = retrain("retrain.catch_up=each")
    assert said(caught_up) == ("run", {"new_span"}, [(2, 3), (3, 4)])
    assert caught_up.exit_code == 0
    assert said(retrain()) == ("nothing", set(), [])

    # It cannot be read at all: not tried again until the file changes.
    path = bring(versioned, 5, rows=[[1, "a", 0], [2, "b"]])
    unreadable = retrain()
    assert (unreadable.exit_code, said(unreadable)[2]) == (3, [(4, 5)])
    assert said(retrain()) == ("wait", {"new_span", "unreadable"}, [])
    write_csv(path, good_rows(), HEADER)
    os.utime(path, (0, 1_500_000_000))
    assert said(retrain()) == ("run", {"new_span"}, [(4, 5)])
    assert said(retrain()) == ("nothing", set(), [])

    kept = read_decisions(versioned.folder / "var" / "small", limit=100)
    ran = [run["run_id"] for line in kept for run in line["runs"]]
    assert len(ran) == len(set(ran)) == len(list((versioned.folder / "var/small/runs").iterdir()))
    assert [line["times"] for line in kept if line["action"] == "wait"] == [1, 1, 2]


def test_nothing_new_is_said_at_once_and_without_tensorflow(versioned: Sandbox) -> None:
    assert said(Watcher(versioned)())[0] == "run"

    command = [sys.executable, "-c", WATCHED, "retrain", str(versioned.folder), "--json"]
    used_s = []
    for _ in range(3):
        # What it costs, not how long it took: other tests run on the same cores.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        document, last = done.stdout.rstrip().rsplit("\n", 1)
        assert last == "EXIT 0 HEAVY", done.stderr
        raw = json.loads(document)
        assert raw["decision"]["action"] == "nothing"
        assert (raw["runs"], raw["error"], raw["exit_code"]) == ([], None, 0)
    assert min(used_s) < 2.0


def test_forcing_trains_anew_and_a_dry_run_writes_nothing(versioned: Sandbox) -> None:
    retrain = Watcher(versioned)
    retrain()
    before = sorted(path for path in (versioned.folder / "var").rglob("*"))
    dry = retrain(is_forced=True, is_dry=True)
    assert said(dry) == ("run", {"forced"}, [])
    assert dry.decision.windows == ((1,),)
    assert sorted(path for path in (versioned.folder / "var").rglob("*")) == before

    forced = retrain(is_forced=True)
    assert forced.decision.is_fresh
    found = states(forced.runs[0])
    assert (found["Transform"], found["Trainer"]) == ("cached", "complete")
    assert versioned.versions == ["1", "2"]


def test_a_changed_source_is_a_reason_once(versioned: Sandbox) -> None:
    retrain = Watcher(versioned)
    retrain()
    with (versioned.folder / "model.py").open("a") as file:
        file.write("\n# another source\n")
    # The model of it is not blessed: nothing new is served, and still it was tried.
    changed = retrain("evaluate.thresholds.auc.min=1.5")
    assert said(changed) == ("run", {"source"}, [(1,)])
    assert changed.exit_code == 4
    assert said(retrain()) == ("nothing", set(), [])


def test_a_failing_chain_is_left_alone_after_some_attempts(versioned: Sandbox) -> None:
    retrain = Watcher(versioned)
    module = versioned.folder / "model.py"
    good = module.read_text()
    module.write_text(good.replace("def run_fn(fn_args):", "def run_fn(fn_args):\n    1 / 0"))
    for _ in range(2):
        failed = retrain("retrain.attempts=2")
        assert (failed.exit_code, len(failed.runs)) == (1, 1)
    assert said(retrain("retrain.attempts=2")) == ("wait", {"first", "failed"}, [])
    module.write_text(good)
    assert said(retrain("retrain.attempts=2")) == ("run", {"first"}, [(1,)])


def test_a_workspace_in_use_is_an_error_beside_the_decision(versioned: Sandbox) -> None:
    with workspace_lock(versioned.folder / "var", "run-of-another", False, lambda _: None):
        done = subprocess.run(
            [ORDAIN, "retrain", str(versioned.folder), "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
    raw = json.loads(done.stdout)
    assert done.returncode == raw["exit_code"] == 5
    assert raw["decision"]["action"] == "run"
    assert "in use by run run-of-another" in raw["error"]["message"]
    assert raw["runs"] == []


def test_a_run_of_the_command_is_one_document_and_is_told(
    versioned: Sandbox, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    command = ["/bin/sh", "-c", f"cat >> {told}; echo >> {told}"]
    versioned.set(notify=[{"on": ["failed", "blessed", "published"], "command": command}])
    done = subprocess.run(
        [ORDAIN, "retrain", str(versioned.folder), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    raw = json.loads(done.stdout)
    assert done.returncode == raw["exit_code"] == 0, done.stderr
    assert raw["decision"]["windows"] == [[1]]
    (run,) = raw["runs"]
    assert run["version"] == 1
    assert (versioned.folder / "var/small/runs" / run["run_id"] / "pipeline.yaml").is_file()
    notices = [json.loads(line) for line in told.read_text().splitlines() if line]
    assert [notice["id"] for notice in notices] == [
        f"{run['run_id']}-blessed",
        f"{run['run_id']}-published",
    ]
    assert notices[0]["decision"] == raw["decision"]


WARM = """
    if fn_args.base_model:
        from ordain.serving.export.warm_start import load_weights

        print("warm:", load_weights(model, fn_args.base_model))
"""


def first_loss(sandbox: Sandbox, result: RunResult) -> float:
    """The first loss that was logged by the training of a run."""
    assert states(result)["Trainer"] == "complete", states(result)
    histories = (sandbox.folder / "var/small/artifacts/Trainer/model_run").glob("*/history.jsonl")
    newest = max(histories, key=lambda path: int(path.parent.name))
    return float(json.loads(newest.read_text().splitlines()[0])["loss"])


def test_a_warm_start_goes_on_from_the_served_model(small: Callable[..., Sandbox]) -> None:
    losses = {}
    for start in ("cold", "warm"):
        sandbox = small(
            {1: good_rows(600)},
            data={"window": 1},
            train={"steps": 400, "parameters": {"learning_rate": 0.5}},
        )
        module = sandbox.folder / "model.py"
        text = module.read_text().replace("    options = tfxio", f"{WARM}    options = tfxio")
        module.write_text(text)
        if start == "warm":
            sandbox.set(train={"base_model": "served"})
        retrain = Watcher(sandbox)
        retrain()
        write_csv(sandbox.data / "2" / "rows.csv", good_rows(500), HEADER)
        (second,) = retrain().runs
        assert second.exit_code == 0
        losses[start] = first_loss(sandbox, second)
        # Nothing new: the model that the second run left is not what it would go on from.
        again = sandbox.run()
        assert states(again)["Trainer"] == "cached"
    assert losses["warm"] < losses["cold"] - 0.1
