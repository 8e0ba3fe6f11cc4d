"""Pusher's executor: TFX's properties, and only blessed models."""

from pathlib import Path

import pytest
from tfx.components.evaluator import constants
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.publisher import Executor


@pytest.fixture
def push(tmp_path):
    def run(is_blessed: bool | None):
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / "model")
        saved = tmp_path / "model" / "Format-Serving"
        saved.mkdir(parents=True)
        (saved / "saved_model.pb").write_bytes(b"a model")
        inputs = {"model": [model]}
        if is_blessed is not None:
            blessing = standard_artifacts.ModelBlessing()
            blessing.uri = str(tmp_path / "blessing")
            Path(blessing.uri).mkdir()
            name = constants.BLESSED_FILE_NAME if is_blessed else constants.NOT_BLESSED_FILE_NAME
            (tmp_path / "blessing" / name).touch()
            blessing.set_int_custom_property("blessed", int(is_blessed))
            inputs["model_blessing"] = [blessing]
        pushed = standard_artifacts.PushedModel()
        pushed.uri = str(tmp_path / "pushed")
        where = pusher_pb2.PushDestination.Filesystem(base_directory=str(tmp_path / "serving"))
        destination = proto_utils.proto_to_json(pusher_pb2.PushDestination(filesystem=where))
        Executor().Do(inputs, {"pushed_model": [pushed]}, {"push_destination": destination})
        return pushed

    return run


def test_a_blessed_model_is_published_and_told_as_tfx_tells_it(push, tmp_path):
    pushed = push(True)
    version = tmp_path / "serving" / "1"
    assert (version / "saved_model.pb").read_bytes() == b"a model"
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_version") == "1"
    assert pushed.get_string_custom_property("pushed_destination") == str(version)


def test_a_model_that_is_not_blessed_is_not(push, tmp_path):
    pushed = push(False)
    assert not (tmp_path / "serving").exists()
    assert pushed.get_int_custom_property("pushed") == 0
    assert not pushed.has_custom_property("pushed_version")
