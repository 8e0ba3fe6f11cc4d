"""Changes of signatures that break a client of the previous version."""

import numpy as np
import pytest

from ordain.serving.registry.compatibility import find_breaks
from ordain.serving.server.codec.tensors import BY_TF, Signature, TensorSpec

ANY = np.array(0.0)


def spec(name, shape=(-1,), kind="DT_FLOAT", default=None):
    return TensorSpec(name, BY_TF[kind], shape, default)


def signature(inputs, outputs=(spec("outputs", (-1, 1)),), name="serving_default"):
    sides = ({s.name: s for s in side} for side in (inputs, outputs))
    return {name: Signature(name, "tensorflow/serving/predict", *sides)}


AGE, CITY = spec("age"), spec("city", kind="DT_STRING", default=ANY)
BEFORE = signature([AGE, CITY])


@pytest.mark.parametrize(
    ("after", "found"),
    [
        (BEFORE, {}),
        ({}, {"serving_default": "is gone"}),
        (signature([AGE]), {"serving_default.inputs.city": "is gone"}),
        (
            signature([spec("age", (-1, -1)), CITY]),
            {"serving_default.inputs.age": "was DT_FLOAT [?], is DT_FLOAT [?, ?]"},
        ),
        (
            signature([spec("age", kind="DT_INT64"), CITY]),
            {"serving_default.inputs.age": "was DT_FLOAT [?], is DT_INT64 [?]"},
        ),
        (
            signature([AGE, spec("city", kind="DT_STRING")]),
            {"serving_default.inputs.city": "could be left out, is required"},
        ),
        (signature([AGE, CITY, spec("new")]), {"serving_default.inputs.new": "is required"}),
        # Nobody has to know of these.
        (signature([AGE, CITY, spec("new", default=ANY)]), {}),
        (signature([spec("age", default=ANY), CITY]), {}),
        (signature([spec("age", None), CITY]), {}),
        ({**BEFORE, **signature([spec("x")], name="more")}, {}),
        (
            signature([AGE, CITY], [spec("outputs", (-1, 2))]),
            {"serving_default.outputs.outputs": "was DT_FLOAT [?, 1], is DT_FLOAT [?, 2]"},
        ),
        (
            signature([AGE, CITY], [spec("score", (-1, 1))]),
            {"serving_default.outputs.outputs": "is gone"},
        ),
        # A single output is answered with bare values, two are not.
        (
            signature([AGE, CITY], [spec("outputs", (-1, 1)), spec("score")]),
            {"serving_default.outputs": "was one output, is 2"},
        ),
    ],
)
def test_what_breaks_a_client(after, found):
    breaks = {b.name: b.text for b in find_breaks(BEFORE, after)}
    assert breaks.keys() == found.keys()
    for name, text in found.items():
        assert text in breaks[name]


@pytest.mark.parametrize(
    ("old", "new", "is_fine"),
    [
        ((-1, 4), (-1, 4), True),
        ((-1, 4), (-1, -1), True),
        ((-1, 4), None, True),
        ((-1, -1), (-1, 4), False),
        ((-1, 4), (-1, 5), False),
        ((-1,), (-1, 1), False),
        (None, (-1,), False),
    ],
)
def test_input_shapes_may_only_widen(old, new, is_fine):
    breaks = find_breaks(signature([spec("x", old)]), signature([spec("x", new)]))
    assert bool(breaks) == (not is_fine)


def test_second_input_breaks_bare_values():
    one, two = signature([AGE]), signature([AGE, CITY])
    assert [b.name for b in find_breaks(one, two)] == ["serving_default.inputs"]
    assert [b.name for b in find_breaks(two, one)] == ["serving_default.inputs.city"]


def test_transform_features_is_not_compared():
    features = signature([spec("examples")], [spec("age_xf")], name="transform_features")
    assert find_breaks({**BEFORE, **features}, BEFORE) == []
