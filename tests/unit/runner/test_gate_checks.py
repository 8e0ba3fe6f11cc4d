"""A gate that left no sound verdict has failed: nothing behind it may run, nothing is cached."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import standard_artifacts

from ordain.components.artifacts.types import (
    OUTCOME_PROPERTY,
    VERDICT_FILE,
    GateVerdict,
    keep_verdict,
)
from ordain.errors import NodeFailedError
from ordain.runner.gate_checks import check_verdicts
from ordain.verdict import Outcome, Reason, Verdict

PASSED = Verdict.of("own", [Reason(Outcome.PASSED, "kind", "text")])


@pytest.fixture
def made(tmp_path):
    """A verdict's artifact, as keep_verdict leaves it."""
    artifact = GateVerdict()
    artifact.uri = str(tmp_path)
    artifact.id = 3
    keep_verdict(PASSED, artifact, [])
    return artifact


def check(*made, node="Own"):
    """The check after an execution that made artifacts in the output `verdict`."""
    output = execution_result_pb2.ExecutorOutput()
    output.output_artifacts["verdict"].artifacts.extend(a.mlmd_artifact for a in made)
    planned = {"verdict": [GateVerdict()], "examples": [standard_artifacts.Examples()]}
    info = SimpleNamespace(node_info=SimpleNamespace(id=node))
    check_verdicts(SimpleNamespace(pipeline_node=info, output_dict=planned), output)


@pytest.mark.parametrize("outcome", [Outcome.PASSED, Outcome.WARNED, Outcome.BLOCKED])
def test_a_kept_verdict_is_sound(made, outcome):
    keep_verdict(Verdict.of("own", [Reason(outcome, "kind", "text")]), made, [])
    check(made)


def test_the_pipelines_gates_may_have_nothing_to_say(made):
    keep_verdict(Verdict.of("data", []), made, [])
    check(made, node="DataGate")


def without_outcome(made):
    del made.mlmd_artifact.custom_properties[OUTCOME_PROPERTY]


def made_file(made):
    return Path(made.uri) / VERDICT_FILE


def writes(text):
    return lambda made: made_file(made).write_text(text)


def keeps(verdict):
    return lambda made: keep_verdict(verdict, made, [])


FAULTS = {
    "no property": (without_outcome, "no property 'outcome'"),
    "no file": (lambda made: made_file(made).unlink(), "there is no .*verdict.json"),
    "not JSON": (writes("passed"), "is not a verdict"),
    "a list": (writes("[]"), "is not a verdict"),
    "no gate": (writes('{"outcome": "passed", "reasons": []}'), "is not a verdict: 'gate'"),
    "another case": (
        writes(json.dumps({"gate": "own", "outcome": "PASSED", "reasons": []})),
        "'PASSED' is not a valid Outcome",
    ),
    "property against file": (
        lambda made: made.set_string_custom_property(OUTCOME_PROPERTY, "warned"),
        "says 'passed', the artifact's property 'warned'",
    ),
    "passed by hand": (
        keeps(Verdict("own", Outcome.PASSED, (Reason(Outcome.BLOCKED, "kind", "text"),))),
        "outcome is 'passed', which is not that of its reasons",
    ),
    "all skipped": (
        keeps(Verdict.of("own", [Reason(Outcome.SKIPPED, "kind", "text")])),
        "nothing was checked",
    ),
    "nothing checked": (keeps(Verdict.of("own", [])), "no reason"),
    "our name": (keeps(Verdict.of("data", PASSED.reasons)), "'data' is the name of a gate"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_anything_else_fails_the_node(made, fault):
    spoil, problem = FAULTS[fault]
    spoil(made)
    with pytest.raises(NodeFailedError, match=f"the gate Own left no verdict.*{problem}"):
        check(made)


def test_one_artifact_is_wanted(made):
    for artifacts in ((), (made, made)):
        with pytest.raises(NodeFailedError, match=f"{len(artifacts)} artifacts"):
            check(*artifacts)


@pytest.mark.parametrize("outcome", ["BLOCKED", "", None, 1])
def test_no_verdict_is_made_of_another_outcome(outcome):
    with pytest.raises(ValueError, match="is not a valid Outcome"):
        Verdict("own", outcome)
    with pytest.raises(ValueError, match="is not a valid Outcome"):
        Reason(outcome, "kind", "text")
