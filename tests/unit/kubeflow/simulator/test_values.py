"""Parameters' values, to their types and back."""

from typing import Any

import pytest

from ordain.kubeflow.simulator.values import check_type, from_text, to_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("a b", "a b"),
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (3.0, "3"),
        (0.1, "0.1"),
        (1e21, "1000000000000000000000"),
        (1e-7, "0.0000001"),
        (-2.50, "-2.5"),
        ([1.0, "a", None, True], '[1,"a",null,true]'),
        ({"b": 1, "a": [2.5]}, '{"a":[2.5],"b":1}'),
        ({"a": "<ü&>"}, '{"a":"\\u003cü\\u0026\\u003e"}'),
    ],
)
def test_a_value_in_a_command(value: Any, text: str) -> None:
    assert to_text(value) == text


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        (" a\n", "STRING", " a\n"),
        (" 12\n", "NUMBER_INTEGER", 12),
        ("1.5\n", "NUMBER_DOUBLE", 1.5),
        ("True", "BOOLEAN", True),
        ("f", "BOOLEAN", False),
        ('[1, "a"]', "LIST", [1, "a"]),
        ('{"a": 1}', "STRUCT", {"a": 1}),
    ],
)
def test_what_a_task_wrote(text: str, kind: str, value: Any) -> None:
    assert from_text(text, kind) == value


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1.5", "NUMBER_INTEGER"),
        ("", "NUMBER_INTEGER"),
        ("many", "NUMBER_DOUBLE"),
        ("yes", "BOOLEAN"),
        ('{"a": 1}', "LIST"),
        ("[1]", "STRUCT"),
        ("{", "STRUCT"),
        ("x", "TASK_FINAL_STATUS"),
    ],
)
def test_what_is_no_such_value(text: str, kind: str) -> None:
    with pytest.raises(ValueError):
        from_text(text, kind)


@pytest.mark.parametrize(
    ("value", "kind"),
    [("1", "NUMBER_INTEGER"), (True, "NUMBER_DOUBLE"), (1, "BOOLEAN"), ([], "STRUCT"), (1, "LIST")],
)
def test_values_of_another_type(value: Any, kind: str) -> None:
    with pytest.raises(ValueError, match=f"expected {kind}, got {type(value).__name__}"):
        check_type(value, kind)
