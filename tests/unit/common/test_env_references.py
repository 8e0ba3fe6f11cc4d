"""`${env:NAME}`: replaced wherever it stands, in a copy, and named when it is missing."""

import pytest

from ordain.common.env_references import resolve_references
from ordain.errors import ConfigError


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    monkeypatch.setenv("ORDAIN_TEST_A", "alpha")
    monkeypatch.setenv("ORDAIN_TEST_B", "beta")
    monkeypatch.setenv("ORDAIN_TEST_EMPTY", "")
    monkeypatch.delenv("ORDAIN_TEST_MISSING", raising=False)


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("${env:ORDAIN_TEST_A}", "alpha"),
        ("x-${env:ORDAIN_TEST_A}/${env:ORDAIN_TEST_B}", "x-alpha/beta"),
        ("${env:ORDAIN_TEST_EMPTY}", ""),
        ({"a": {"b": ["${env:ORDAIN_TEST_A}", 1]}}, {"a": {"b": ["alpha", 1]}}),
        ([("${env:ORDAIN_TEST_B}",)], [["beta"]]),
        # These are texts like any other.
        ("$ORDAIN_TEST_A", "$ORDAIN_TEST_A"),
        ("${ORDAIN_TEST_A}", "${ORDAIN_TEST_A}"),
        ("${env:1A}", "${env:1A}"),
        ("${env:}", "${env:}"),
        # And these are no texts.
        (1, 1),
        (0.5, 0.5),
        (True, True),
        (None, None),
    ],
)
def test_references_are_replaced_wherever_they_stand(value, resolved):
    assert resolve_references(value, "here") == resolved


def test_a_value_is_not_resolved_again(monkeypatch):
    monkeypatch.setenv("ORDAIN_TEST_A", "${env:ORDAIN_TEST_B}")
    assert resolve_references("${env:ORDAIN_TEST_A}", "here") == "${env:ORDAIN_TEST_B}"


def test_a_missing_variable_is_named_with_its_key():
    nested = {"train": {"parameters": {"token": "${env:ORDAIN_TEST_MISSING}"}}}
    with pytest.raises(ConfigError) as caught:
        resolve_references(nested, "pipeline.yaml")
    assert "pipeline.yaml.train.parameters.token" in caught.value.message
    assert "ORDAIN_TEST_MISSING is not set" in caught.value.message


def test_the_written_configuration_never_has_the_value():
    written = {"path": "${env:ORDAIN_TEST_A}", "more": ["${env:ORDAIN_TEST_B}"]}
    resolve_references(written, "here")
    assert written == {"path": "${env:ORDAIN_TEST_A}", "more": ["${env:ORDAIN_TEST_B}"]}
