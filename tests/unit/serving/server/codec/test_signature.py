"""Signatures: checks of inputs, defaults, rows in JSON."""

import numpy as np
import pytest

from ordain.serving.server.codec.predict_json import decode_predict
from ordain.serving.server.codec.tensors import BY_TF, Signature, TensorSpec
from ordain.serving.server.errors import RequestError

NAN = np.array(np.nan, dtype=object)
SIGNATURE = Signature(
    "serving_default",
    "",
    {
        "x": TensorSpec("x", BY_TF["DT_FLOAT"], (-1,)),
        "gap": TensorSpec("gap", BY_TF["DT_FLOAT"], (-1,), NAN),
        "word": TensorSpec("word", BY_TF["DT_STRING"], (-1,), np.array(b"", dtype=object)),
        "many": TensorSpec("many", BY_TF["DT_INT64"], (-1, -1), np.array(-1, dtype=object)),
    },
    {},
)


def rows(*instances):
    inputs, by_row = decode_predict({"instances": list(instances)}, SIGNATURE)
    assert by_row
    return SIGNATURE.complete(inputs)


def test_optional_inputs_may_be_absent_or_null_in_any_row():
    inputs, count = rows({"x": 1, "gap": 2.5}, {"x": 2, "word": "a"}, {"x": 3, "gap": None})
    assert count == 3
    assert inputs["gap"].dtype == np.float32
    assert inputs["gap"][0] == 2.5
    assert np.isnan(inputs["gap"][1:]).all()
    assert inputs["word"].tolist() == [b"", b"a", b""]
    assert inputs["many"].tolist() == [[-1]] * 3


def test_required_inputs_are_required_in_every_row():
    for row in ({"gap": 1}, {"x": None}, {"x": 1, "other": 2}):
        with pytest.raises(RequestError):
            rows({"x": 1}, row)


def test_lists_have_no_default_per_row():
    assert rows({"x": 1, "many": [1, 2]}, {"x": 1, "many": [3, 4]})[0]["many"].shape == (2, 2)
    with pytest.raises(RequestError):
        rows({"x": 1, "many": [1]}, {"x": 1})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"x": np.zeros(2, "float64")}, "DT_DOUBLE"),
        ({"x": np.zeros((2, 1), "float32")}, "shape"),
        ({"x": np.zeros(2, "float32"), "gap": np.zeros(3, "float32")}, "rows"),
        ({"x": np.zeros(2, "float32"), "y": np.zeros(2, "float32")}, "no input 'y'"),
        ({}, "Missing named input: x"),
    ],
)
def test_refuses(given, words):
    with pytest.raises(RequestError, match=words):
        SIGNATURE.complete(given)
