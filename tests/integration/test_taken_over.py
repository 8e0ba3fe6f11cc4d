"""`--from NODE` over real runs: what is taken over belongs together, or the run does not begin."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sandbox import Sandbox, good_rows, states, write_csv

from ordain.errors import ConfigError, ExitCode

#: A training that learns the opposite.
WORSE = "train.parameters.learning_rate=-0.1"


def refused(project: Sandbox, *settings: str, node: str) -> ConfigError:
    """The error of `--from NODE`, which comes before anything is launched."""
    project.events.clear()
    with pytest.raises(ConfigError) as error:
        project.run(*settings, from_node=node)
    assert project.events == []
    return error.value


def test_a_model_is_not_published_by_the_blessing_of_another(
    small: Callable[..., Sandbox],
) -> None:
    project = small()
    assert project.run().version == 1
    spoiled = project.run(WORSE, to_node="Trainer")
    error = refused(project, node="Pusher")
    assert error.message == (
        f"--from Pusher: Evaluator has not run on the last output of Trainer (run {spoiled.run_id})"
    )
    assert error.hint == "ordain run PROJECT --from Evaluator"

    assert project.run(from_node="Evaluator").exit_code is ExitCode.NOT_BLESSED
    # The blessing of the spoiled model is its own now, also when it is taken over again.
    for _ in range(2):
        again = project.run(from_node="Pusher")
        taken = dict.fromkeys(states(again), "reused") | {"Pusher": "complete"}
        assert (states(again), again.exit_code) == (taken, ExitCode.NOT_BLESSED)
    # The other way round: a good model is not refused by the verdict on the spoiled one.
    project.run("train.steps=31", to_node="Trainer")
    assert (
        "Evaluator has not run on the last output of Trainer"
        in refused(project, node="Pusher").message
    )
    assert project.versions == ["1"]
    accepted = project.run(from_node="Evaluator")
    assert (accepted.exit_code, project.versions) == (ExitCode.DONE, ["1", "2"])


def test_the_data_gates_verdict_is_on_the_window_that_is_taken_over(
    small: Callable[..., Sandbox],
) -> None:
    project = small()
    assert project.run(to_node="Trainer").exit_code is ExitCode.DONE
    unlabelled = [[x, c, 7] for x, c, _ in good_rows()]
    write_csv(project.data / "2" / "rows.csv", [*good_rows(), *unlabelled], ["x", "c", "y"])
    measured = project.run(to_node="ExampleValidator")
    error = refused(project, node="Transform")
    assert error.message == (
        "--from Transform: DataGate has not run on the last output of ExampleGen, "
        f"ExampleValidator, SchemaGen, StatisticsGen (run {measured.run_id})"
    )
    assert error.hint == "ordain run PROJECT --from DataGate"
    # The window of the last whole run is still there to go on from.
    earlier = project.run(span=1, from_node="Trainer", to_node="Trainer")
    assert states(earlier)["AnalyzerCache"] == states(earlier)["Transform"] == "reused"
