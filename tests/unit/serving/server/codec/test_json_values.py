"""Decodes JSON values to arrays, and encodes arrays."""

from functools import reduce

import numpy as np
import pytest

from ordain.serving.server.codec.json_values import decode_tensor, encode_tensor
from ordain.serving.server.codec.tensors import BY_TF
from ordain.serving.server.errors import RequestError


def decode(value, tf):
    return decode_tensor(value, BY_TF[tf])


@pytest.mark.parametrize(
    ("value", "tf", "shape"),
    [
        (1, "DT_FLOAT", ()),
        ([1, 2.5], "DT_FLOAT", (2,)),
        ([[1], [2]], "DT_INT64", (2, 1)),
        ([], "DT_FLOAT", (0,)),
        ([[], []], "DT_FLOAT", (2, 0)),
        ([[True], [False]], "DT_BOOL", (2, 1)),
        ([["a", {"b64": "AA=="}]], "DT_STRING", (1, 2)),
        ([255, 0], "DT_UINT8", (2,)),
        ([2**64 - 1], "DT_UINT64", (1,)),
        ([65504.0], "DT_HALF", (1,)),
    ],
)
def test_shapes_and_types(value, tf, shape):
    array = decode(value, tf)
    assert (array.shape, array.dtype) == (shape, BY_TF[tf].numpy)


def test_bytes_are_decoded_from_text_or_either_base64_alphabet():
    assert decode(["é", {"b64": "-_8"}, {"b64": "+/8="}], "DT_STRING").tolist() == [
        "é".encode(),
        b"\xfb\xff",
        b"\xfb\xff",
    ]


@pytest.mark.parametrize(
    ("value", "tf"),
    [
        (True, "DT_FLOAT"),
        (1, "DT_BOOL"),
        (1.0, "DT_INT32"),
        (256, "DT_UINT8"),
        (-1, "DT_UINT8"),
        (2**31, "DT_INT32"),
        (2**63, "DT_INT64"),
        (2**24 + 1, "DT_FLOAT"),
        (2**53 + 1, "DT_DOUBLE"),
        (10**400, "DT_DOUBLE"),
        (1e39, "DT_FLOAT"),
        (1e5, "DT_HALF"),
        ("\ud800", "DT_STRING"),
        ({"b64": 1}, "DT_STRING"),
        ({"b64": "é"}, "DT_STRING"),
        ({"b64": "A"}, "DT_STRING"),
        ({"a": "b"}, "DT_FLOAT"),
        (None, "DT_STRING"),
        ([[1], 2], "DT_FLOAT"),
        ([1, [2]], "DT_FLOAT"),
        ([[1, 2], [3]], "DT_FLOAT"),
        ([[], [1]], "DT_FLOAT"),
        (reduce(lambda inner, _: [inner], range(70), 1), "DT_FLOAT"),
    ],
)
def test_refuses(value, tf):
    with pytest.raises(RequestError) as caught:
        decode(value, tf)
    assert caught.value.code.http == 400
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_encoded_by_their_shortest_text(dtype):
    values = np.array([0.1, 1 / 3, 1e-5, 2.0, -0.0, 12345.678], dtype=dtype)
    encoded = encode_tensor(values, "y")
    assert encoded[0] == 0.1
    assert np.array_equal(np.array(encoded, dtype=dtype), values)


def test_encoding_keeps_the_shape():
    for shape in ((), (3,), (2, 3), (2, 0), (0, 2), (2, 1, 2)):
        for dtype in ("float32", "int64", "object"):
            array = np.zeros(shape, dtype) if dtype != "object" else np.full(shape, b"a", object)
            assert np.asarray(encode_tensor(array, "y")).shape in (shape, shape[:1])
            assert encode_tensor(np.zeros((2, 3), "float32"), "y") == [[0.0] * 3] * 2


def test_bytes_are_encoded_as_text_or_base64():
    array = np.array([b"a", b"\xff"], dtype=object)
    assert encode_tensor(array, "t") == ["a", {"b64": "/w=="}]
    assert encode_tensor(array, "t_bytes") == [{"b64": "YQ=="}, {"b64": "/w=="}]
