"""A model's description that somebody made: a message, whatever it holds."""

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
    "a list": ("[]", "the description is a list, not an object"),
    "no format": ("{}", "it has no 'format'"),
    "another format": (_put(format=99), "format 99, this reader knows 1"),
    "a format that is a list": (_put(format=[1]), "format [1]"),
    "deep": ("[" * 10**6, "nested too deep"),
    "a feature that is none": (_put(features=[3]), "a feature is 3, not an object"),
    "a name that is none": (_feature(name=[1]), "a feature's name is a list"),
    "a dtype that is none": (_feature(dtype=[]), "the dtype of 'x' is a list"),
    "a dtype there is not": (_feature(dtype="complex"), "dtype 'complex', known are"),
    "a shape that is none": (_feature(shape="ab"), "the shape of 'x' is 'ab'"),
    "a size that is none": (_feature(shape=["a"]), "a size of 'x' is 'a'"),
    "required or not": (_feature(is_required="no"), "is_required of 'x' is neither"),
    "a task there is not": (_put(task="steal"), "task is 'steal', known are binary"),
    "a task that is a list": (_put(task=[]), "task is a list"),
    "a threshold NaN": (_put(threshold=float("nan")), "it contains NaN"),
    "a threshold that is none": (_put(threshold={}), "threshold is an object, not a number"),
    "classes that are none": (_put(classes=4), "classes is 4, not a list"),
    "a class that is none": (_put(classes=[[]]), "a class is a list"),
    "signatures that are none": (_put(signatures=7), "signatures is 7, not an object"),
    "operations that are none": (_put(operations=5), "operations is 5, not a list"),
    "an operation that is none": (_put(operations=[None]), "an operation is None, not a string"),
}


def test_what_is_written_is_read():
    assert Description.from_json(TEXT).to_json() == TEXT


@pytest.mark.parametrize("name", HOSTILE)
def test_each_is_one_line_that_names_the_file(tmp_path, name):
    text, words = HOSTILE[name]
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "ordain.json").write_text(text)
    with pytest.raises(InfrastructureError) as caught:
        read_description(tmp_path)
    message = caught.value.message
    assert "assets/ordain.json: " in message and words in message and "\n" not in message, message


@pytest.mark.timeout(60)
def test_a_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "assets").mkdir()
    os.mkfifo(tmp_path / "assets" / "ordain.json")
    with pytest.raises(InfrastructureError, match=r"ordain\.json is a pipe, not a plain file"):
        read_description(tmp_path)
