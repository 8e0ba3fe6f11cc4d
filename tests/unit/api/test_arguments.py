"""Arguments of the Python API: what a caller gets wrong is named, and is no traceback of ours."""

from pathlib import Path

import pytest

import ordain
from ordain.api.arguments import check_limit, check_project, check_rows, setting_texts


def test_settings_become_texts():
    given = {"train.steps": 5, "workspace": Path("/w"), "a": ["b", {"c": None}]}
    assert setting_texts(given) == ["train.steps=5", 'workspace="/w"', 'a=["b", {"c": null}]']
    assert setting_texts(("train.steps=5",)) == ["train.steps=5"]


FAULTS = [
    (setting_texts, "train.steps=5", "settings: got str 'train.steps=5', expected a mapping"),
    (setting_texts, 5, "settings: got int 5"),
    (setting_texts, {"a": {1, 2}}, r"settings: a is set \{1, 2\}"),
    (check_project, "iris", "project: got str 'iris', expected a Project"),
    (check_project, None, "project: got NoneType None"),
    (check_limit, -1, "limit: got int -1"),
    (check_limit, "1", "limit: got str '1'"),
    (check_limit, True, "limit: got bool True"),
    (check_rows, {"x": 1.5}, "rows: got dict .*expected a pandas DataFrame or a list of mappings"),
    (check_rows, "abc", "rows: got str 'abc'"),
    (check_rows, [1.5], r"rows: got list \[1.5\]"),
    (check_rows, iter([{"x": 1.5}]), "rows: got list_iterator"),
]


@pytest.mark.parametrize(("check", "given", "problem"), FAULTS)
def test_what_is_wrong_is_named(check, given, problem):
    with pytest.raises(ordain.ConfigError, match=problem):
        check(given)


@pytest.mark.parametrize("name", ["plan", "run", "runs", "report", "models", "predict"])
def test_every_function_wants_a_project(name):
    more = ([],) if name == "predict" else ()
    with pytest.raises(ordain.ConfigError, match="project = ordain.load_project"):
        getattr(ordain, name)("iris", *more)
