"""A model's description: invalid ones are one error that names the file."""

import json
import os

import pytest

from ordain.errors import InfrastructureError
from ordain.serving.export.description import Description, Feature, read_description

TEXT = Description((Feature("x", "float32"),), "y", "binary", ("a", 1), 0.5).to_json()


def _put(**keys) -> str:
    return json.dumps({**json.loads(TEXT), **keys})


def _feature(**keys) -> str:
    return _put(features=[{**json.loads(TEXT)["features"][0], **keys}])


HOSTILE = {
    "empty": ("", "Expecting value"),
    "a list": ("[]", "format None, this reader knows 1"),
    "no format": ("{}", "format None, this reader knows 1"),
    "another format": (_put(format=99), "format 99, this reader knows 1"),
    "a format that is a list": (_put(format=[1]), "format [1]"),
    "deep": ("[" * 10**6, "nested too deep"),
    "a feature that is none": (_put(features=[3]), "features.0 must be an object, got 3"),
    "a name that is none": (
        _feature(name=[1]),
        "features.0.name must be a valid string, got a list",
    ),
    "a dtype that is none": (
        _feature(dtype=[]),
        "features.0.dtype must be 'string', 'float32' or 'int64', got a list",
    ),
    "a dtype there is not": (_feature(dtype="complex"), "or 'int64', got 'complex'"),
    "a shape that is none": (
        _feature(shape="ab"),
        "features.0.shape must be a valid array, got 'ab'",
    ),
    "a size that is none": (
        _feature(shape=["a"]),
        "features.0.shape.0 must be a valid integer, got 'a'",
    ),
    "required or not": (
        _feature(is_required="no"),
        "is_required must be a valid boolean, got 'no'",
    ),
    "a task there is not": (_put(task="steal"), "'multiclass' or 'regression', got 'steal'"),
    "a task that is a list": (
        _put(task=[]),
        "task must be 'binary', 'multiclass' or 'regression', got a list",
    ),
    "a feature without a shape": (
        _put(features=[{"name": "x", "dtype": "string", "is_required": True}]),
        "shape is missing",
    ),
    "a size below 0": (_feature(shape=[-1]), "features.0.shape.0 must be greater than or equal"),
    "a threshold NaN": (_put(threshold=float("nan")), "it contains NaN"),
    "a threshold that is none": (
        _put(threshold={}),
        "threshold must be a valid number, got an object",
    ),
    "classes that are none": (_put(classes=4), "classes must be a valid array, got 4"),
    "a class that is none": (_put(classes=[[]]), "must be a valid string, got a list"),
    "signatures that are none": (_put(signatures=7), "signatures must be an object, got 7"),
    "operations that are none": (_put(operations=5), "operations must be a valid array, got 5"),
    "an operation that is none": (
        _put(operations=[None]),
        "operations.0 must be a valid string, got None",
    ),
}


def test_round_trip():
    assert Description.from_json(TEXT).to_json() == TEXT


@pytest.mark.parametrize("name", HOSTILE)
def test_invalid_description_is_one_line_with_the_file(tmp_path, name):
    text, words = HOSTILE[name]
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "ordain.json").write_text(text)
    with pytest.raises(InfrastructureError) as caught:
        read_description(tmp_path)
    message = caught.value.message
    assert "assets/ordain.json: " in message and words in message and "\n" not in message, message


@pytest.mark.timeout(60)
def test_pipe_is_not_opened(tmp_path):
    (tmp_path / "assets").mkdir()
    os.mkfifo(tmp_path / "assets" / "ordain.json")
    with pytest.raises(InfrastructureError, match=r"ordain\.json is a pipe, not a plain file"):
        read_description(tmp_path)
