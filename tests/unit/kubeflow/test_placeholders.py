"""Placeholders, filled as the launcher fills them."""

import pytest

from ordain.kubeflow.placeholders import (
    UnknownPlaceholderError,
    expand_variables,
    fill,
    fill_inputs,
    fill_words,
    input_parameter,
)

A, B = input_parameter("a"), input_parameter("b")


class TestFill:
    def test_every_occurrence_is_replaced(self) -> None:
        assert fill(f"x {A}-{B} {A}", {A: "1", B: "2"}) == "x 1-2 1"

    def test_a_value_is_not_looked_through_again(self) -> None:
        assert fill(f"{A} {B}", {A: B, B: "2"}) == f"{B} 2"

    def test_braces_that_are_no_placeholder_stay(self) -> None:
        assert fill("{{x}} {$} ${HOME} ${env:SECRET}", {}) == "{{x}} {$} ${HOME} ${env:SECRET}"

    def test_the_whole_input(self) -> None:
        assert fill("{{$}}", {"{{$}}": '{"inputs": {}}'}) == '{"inputs": {}}'

    def test_one_without_a_value_is_named(self) -> None:
        with pytest.raises(UnknownPlaceholderError, match=r"\{\{\$\.inputs\.parameters\['b'\]\}\}"):
            fill(f"{A} {B}", {A: "1"})


class TestWords:
    @pytest.mark.parametrize(
        ("word", "present", "expected"),
        [
            ('{"Concat": ["--a=", "AA", "-", "BB"]}', (), ["--a=1-2"]),
            ('{"IfPresent": {"InputName": "a", "Then": ["--a", "AA"]}}', ("a",), ["--a", "1"]),
            ('{"IfPresent": {"InputName": "a", "Then": ["--a", "AA"]}}', (), []),
            ('{"IfPresent": {"InputName": "a", "Then": "AA", "Else": "none"}}', (), ["none"]),
            (
                '{"Concat": ["x", {"IfPresent": {"InputName": "b", "Then": "BB", "Else": "-"}}]}',
                ("b",),
                ["x2"],
            ),
            (
                '{"IfPresent": {"InputName": "a", "Then": [{"Concat": ["AA", "BB"]}, "y"]}}',
                ("a",),
                ["12", "y"],
            ),
            ('{"Concat"', (), ['{"Concat"']),
            ('{"other": 1}', (), ['{"other": 1}']),
        ],
    )
    def test_structures(self, word: str, present: tuple[str, ...], expected: list[str]) -> None:
        word = word.replace("AA", A).replace("BB", B)
        assert fill_words([word], {A: "1", B: "2"}, present) == expected

    def test_a_branch_that_is_not_taken_needs_no_value(self) -> None:
        word = '{"IfPresent": {"InputName": "a", "Then": "AA"}}'.replace("AA", A)
        assert fill_words(["x", word], {}, ()) == ["x"]

    def test_a_malformed_structure_is_named(self) -> None:
        with pytest.raises(UnknownPlaceholderError, match="Concat"):
            fill_words(['{"Concat": ["x"'], {}, ())


class TestInputs:
    def test_an_input_that_refers_to_another(self) -> None:
        found = fill_inputs({"a": 3, "b": f"n-{A}"}, {"a": "3", "b": f"n-{A}"})
        assert found == {"a": 3, "b": "n-3"}

    def test_one_that_refers_to_nothing(self) -> None:
        with pytest.raises(UnknownPlaceholderError):
            fill_inputs({"b": A}, {"b": A})


class TestKubernetesVariables:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("$(NAME)", "value"),
            ("a$(NAME)b", "avalueb"),
            ("$(date) $HOME ${NAME}", "$(date) $HOME ${NAME}"),
            ("$$(NAME)", "$(NAME)"),
            ("$", "$"),
        ],
    )
    def test_expansion(self, text: str, expected: str) -> None:
        assert expand_variables(text, {"NAME": "value"}) == expected
