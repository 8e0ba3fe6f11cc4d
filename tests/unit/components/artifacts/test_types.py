"""A verdict in an artifact: the file always, the property while databases can hold it."""

import pytest
from tfx.types import standard_artifacts

from ordain.components.artifacts.types import MAX_PROPERTY_CHARS, GateVerdict, keep_verdict
from ordain.history.runs import Output, verdict_of
from ordain.verdict import Outcome, Reason, Verdict


def verdict(reasons: int) -> Verdict:
    return Verdict.of("data", [Reason(Outcome.BLOCKED, "drift", "x" * 200)] * reasons)


@pytest.mark.parametrize(("reasons", "has_property"), [(1, True), (100, True), (1000, False)])
@pytest.mark.parametrize("kind", [GateVerdict, standard_artifacts.ModelEvaluation])
def test_verdicts_of_any_length_are_read_back(tmp_path, kind, reasons, has_property):
    artifact = kind()
    artifact.uri = str(tmp_path / "verdict")
    keep_verdict(verdict(reasons), artifact, [])
    assert artifact.has_custom_property("verdict") is has_property
    properties = {"outcome": artifact.get_string_custom_property("outcome")}
    if has_property:
        properties["verdict"] = artifact.get_string_custom_property("verdict")
        assert len(properties["verdict"]) <= MAX_PROPERTY_CHARS
    assert properties["outcome"] == "blocked"
    assert verdict_of([Output(1, "k", "t", artifact.uri, properties)]) == verdict(reasons)
    assert Verdict.from_json((tmp_path / "verdict" / "verdict.json").read_text()) == verdict(
        reasons
    )
