"""A new version serves the clients of the one before: signatures over real runs, in both orders."""

from __future__ import annotations

from collections.abc import Callable

from click.testing import CliRunner
from sandbox import Sandbox, good_rows, states, write_csv

from ordain.cli.main import cli
from ordain.errors import ExitCode
from ordain.history.results import RunResult
from ordain.project.schema import read_schema, write_schema
from ordain.serving.registry.verification import read_manifest
from ordain.serving.server.models.signature_defs import read_signatures
from ordain.verdict import Outcome, Reason

HEADER = ["x", "c", "y"]
#: Version 1 needs an x, and version 3 a z, in every row that it predicts.
NO_BASELINE = "evaluate.baseline={none: the version before cannot predict such rows}"
ALLOW = "gate.server.allow_changes={serving_default.inputs.z: every client sends z since May}"
SERVED = {"gate": {"server": {"requests": 4}}, "data": {"window": 1}}


def signature_reasons(result: RunResult) -> list[Reason]:
    (verdict,) = [v for v in result.verdicts if v.gate == "server"]
    return [reason for reason in verdict.reasons if reason.kind == "signatures"]


def schema(project: Sandbox, command: str) -> str:
    done = CliRunner().invoke(cli, ["schema", command, str(project.folder)])
    assert done.exit_code == 0, done.output
    return done.output


def require(project: Sandbox, column: str) -> None:
    """Edits the schema by hand: every row has one value of a column."""
    path = project.folder / "schema.pbtxt"
    edited = read_schema(path)
    (feature,) = [f for f in edited.feature if f.name == column]
    feature.shape.dim.add(size=1)
    feature.presence.min_fraction = 1.0
    write_schema(edited, path)


def assert_names_the_baseline(result: RunResult) -> None:
    assert result.failure is not None
    said, hint = result.failure.message, str(result.failure.hint)
    assert said.startswith("the baseline, version 1 (stable), cannot predict rows of span 2: ")
    assert "Feature: x (data type: float) is required" in said
    assert "evaluate.baseline={none: REASON}" in hint


def test_clients_of_the_version_before_are_served_or_the_model_is_refused(
    small: Callable[..., Sandbox],
) -> None:
    project = small(**SERVED)
    serving = project.folder / "var" / "serving" / "small"
    first = project.run()
    assert (first.failure, first.version) == (None, 1)
    (reason,) = signature_reasons(first)
    assert reason.text.startswith("no version is published yet")
    schema(project, "freeze")

    # Three values are missing, the change is accepted: a client of version 1 must not notice.
    rows = [["" if i < 3 else row[0], *row[1:]] for i, row in enumerate(good_rows())]
    write_csv(project.data / "2" / "rows.csv", rows, HEADER)
    assert project.run().exit_code is ExitCode.DATA_BLOCKED
    assert "value_count" in schema(project, "accept")
    assert_names_the_baseline(project.run())
    second = project.run(NO_BASELINE)
    assert (second.failure, second.version) == (None, 2)
    (reason,) = signature_reasons(second)
    assert (reason.outcome, reason.text) == (
        Outcome.PASSED,
        "signatures are compatible with version 1",
    )
    before, after = (read_signatures(serving / v)["serving_default"].inputs for v in "12")
    assert before["x"].shape == after["x"].shape == (-1,)
    assert before["x"].default is None
    assert after["x"].default is not None

    # A column that every row needs is new: no client of version 2 sends it.
    rows = [[*row, i % 7] for i, row in enumerate(good_rows())]
    write_csv(project.data / "3" / "rows.csv", rows, [*HEADER, "z"])
    assert project.run().exit_code is ExitCode.DATA_BLOCKED
    schema(project, "accept")
    require(project, "z")
    blocked = project.run()
    assert (blocked.exit_code, project.versions) == (ExitCode.INFRASTRUCTURE, ["1", "2"])
    (reason,) = signature_reasons(blocked)
    assert (reason.outcome, reason.where) == (Outcome.BLOCKED, "serving_default.inputs.z")
    assert "gate.server.allow_changes: {serving_default.inputs.z: reason}" in reason.advice

    allowed = project.run(ALLOW)
    assert (allowed.failure, allowed.version) == (None, 3)
    (reason,) = signature_reasons(allowed)
    assert reason.outcome is Outcome.WARNED
    kept = [v for v in read_manifest(serving / "3").verdicts if v.gate == "server"]
    assert "every client sends z since May" in kept[0].to_json()

    # Version 3 is stable by now; the same run again finds nothing to compare anew.
    again = project.run(ALLOW)
    looked_up = dict.fromkeys(("AnalyzerCache", "Baseline"), "complete")
    assert states(again) == dict.fromkeys(states(again), "cached") | looked_up
    assert project.versions == ["1", "2", "3"]

    # The other way round: clients of version 3 send z, and the column is gone.
    write_csv(project.data / "4" / "rows.csv", good_rows(), HEADER)
    assert project.run().exit_code is ExitCode.DATA_BLOCKED
    assert "! z: its column is missing" in schema(project, "accept")
    gone = project.run(NO_BASELINE)
    assert gone.exit_code is ExitCode.INFRASTRUCTURE
    (reason,) = signature_reasons(gone)
    assert (reason.where, reason.text) == (
        "serving_default.inputs.z",
        "the input is gone; clients of version 3 would fail",
    )
    # A permission that is left over is said.
    (*_, unused) = signature_reasons(
        project.run(NO_BASELINE, "gate.server.allow_changes={serving_default.inputs.x: long ago}")
    )
    assert (unused.outcome, unused.where) == (Outcome.WARNED, "serving_default.inputs.x")
