"""What the evaluation gate compares with, over real runs: the version that serves, and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from sandbox import Sandbox, states

from ordain.errors import ExitCode, InfrastructureError
from ordain.history.results import RunResult
from ordain.serving.registry.label_file import read_labels
from ordain.serving.registry.labels import promote, rollback
from ordain.verdict import Outcome, Verdict

LIMITS = {"data": {"window": 1}, "evaluate": {"thresholds": {"auc": {"max_drop": 0.05}}}}
LOOKED_UP = {"AnalyzerCache": "complete", "Baseline": "complete"}
#: A training that learns the opposite: its AUC is near 0, the others' above 0.8.
WORSE = "train.parameters.learning_rate=-0.1"


def verdict_of(result: RunResult) -> Verdict:
    assert result.failure is None, result.failure
    return next(v for v in result.verdicts if v.gate == "evaluation")


def compared(result: RunResult) -> str:
    return verdict_of(result).compared_with


def serving(project: Sandbox) -> Path:
    return project.folder / "var" / "serving" / "small"


def test_it_is_the_version_that_serves_whatever_else_was_trained_or_moved(
    small: Callable[..., Sandbox], tmp_path: Path
) -> None:
    project = small(**LIMITS)
    first = project.run()
    assert compared(first) == "nothing: this is the first model, no version has been published yet"
    assert (first.version, first.baseline) == (1, None)
    (reason,) = verdict_of(first).reasons
    assert reason.kind == "auc.max_drop"
    assert "; no baseline to compare with" in reason.text

    # Never published; then refused by the server gate.
    assert compared(project.run("train.steps=31", to_node="Evaluator")) == "version 1 (stable)"
    refused = project.run("train.steps=32", "gate.server={max_size_mb: 0.001}")
    assert refused.exit_code is ExitCode.INFRASTRUCTURE
    second = project.run("train.steps=33")
    assert (compared(second), second.version) == ("version 1 (stable)", 2)
    assert second.baseline == str(serving(project) / "1")

    # Stable is this very model now, and yet nothing is evaluated or published again.
    again = project.run("train.steps=33")
    assert states(again) == dict.fromkeys(states(again), "cached") | LOOKED_UP
    assert (again.version, again.is_new_version, project.versions) == (2, False, ["1", "2"])

    rollback(serving(project), "me", "worse")
    third = project.run("train.steps=34")
    assert (compared(third), third.version, third.is_stable) == ("version 1 (stable)", 3, False)
    again = project.run("train.steps=34")
    assert states(again) == dict.fromkeys(states(again), "cached") | LOOKED_UP

    # Where the serving directory should be, nothing is mounted: that is no first model.
    away = serving(project).rename(tmp_path / "away")
    with pytest.raises(InfrastructureError, match=f"{serving(project)} holds no version, but vers"):
        project.run("train.steps=35")
    away.rename(serving(project))

    # Project and workspace are moved, and the database is lost.
    moved = Sandbox(project.folder.rename(tmp_path / "elsewhere"))
    for path in (moved.folder / "var").glob("metadata.sqlite*"):
        path.unlink()
    worse = moved.run(WORSE)
    assert (compared(worse), worse.exit_code) == ("version 1 (stable)", ExitCode.NOT_BLESSED)
    (reason,) = verdict_of(worse).reasons
    assert (reason.kind, reason.outcome) == ("auc.max_drop", Outcome.BLOCKED)
    assert reason.measured < 0.2
    assert reason.baseline > 0.8
    assert moved.versions == ["1", "2", "3"]

    # What serves is damaged: nothing is trained.
    (serving(moved) / "1" / "saved_model.pb").write_bytes(b"")
    moved.events.clear()
    with pytest.raises(InfrastructureError, match=f"version 1 .*{serving(moved)}/1: saved_model"):
        moved.run("train.steps=35")
    assert moved.events == []


@dataclass
class _Meanwhile(Sandbox):
    """Does something when a node begins."""

    when: str = ""
    what: Callable[[], None] = lambda: None

    def started(self, node: str, span: int | None) -> None:
        if node == self.when:
            self.what()


def test_a_worse_model_that_serves_lets_the_better_one_in_and_not_the_other_way_round(
    small: Callable[..., Sandbox],
) -> None:
    project = small(**LIMITS)
    assert project.run(WORSE).version == 1
    better = project.run()
    assert (compared(better), better.version) == ("version 1 (stable)", 2)
    (reason,) = verdict_of(better).reasons
    assert reason.baseline < 0.2
    assert reason.measured > 0.8
    # Stable moves while the candidate is evaluated: what it was compared with is not what serves.
    promote(serving(project), 1, "me", "to see")
    back = partial(promote, serving(project), 2, "me", "it is better")
    late = _Meanwhile(project.folder, when="Evaluator", what=back).run("train.steps=29")
    assert compared(late) == "version 1 (stable when this run looked it up)"
    assert (late.version, late.is_stable) == (3, False)
    assert read_labels(serving(project)).stable == 2
    (change,) = (c for c in read_labels(serving(project)).changes if c.version == 3)
    assert change.why == "stable has become 2 since this version was compared with 1"

    # Evaluated anew after a rollback: the last run's baseline is not taken over.
    assert compared(project.run("train.steps=31", to_node="Evaluator")) == "version 2 (stable)"
    rollback(serving(project), "me", "to see", 1)
    anew = project.run("train.steps=31", from_node="Evaluator", to_node="Evaluator")
    assert compared(anew) == "version 1 (stable)"

    # The model of the first run again, which was blessed then: what serves now is better.
    project.set(evaluate={"baseline": 2})
    worse = project.run(WORSE)
    assert (compared(worse), worse.exit_code) == ("version 2 (pinned)", ExitCode.NOT_BLESSED)
    project.set(evaluate={"baseline": {"none": "metrics changed"}})
    assert compared(project.run(WORSE)) == "nothing: metrics changed"


@pytest.mark.parametrize("when", ["Trainer", "Evaluator"])
def test_a_version_that_is_damaged_meanwhile_ends_the_run_by_name(
    small: Callable[..., Sandbox], when: str
) -> None:
    project = small(**LIMITS)
    assert project.run().version == 1
    damaged = serving(project) / "1" / ("manifest.json" if when == "Trainer" else "saved_model.pb")
    late = _Meanwhile(project.folder, when=when, what=damaged.unlink)

    result = late.run("train.steps=31")

    assert result.exit_code is ExitCode.INFRASTRUCTURE
    assert result.failure is not None
    assert result.failure.node == ("Baseline" if when == "Trainer" else "Evaluator")
    assert f"version 1 cannot be used as a baseline: {serving(project)}/1: " in (
        result.failure.message
    )
