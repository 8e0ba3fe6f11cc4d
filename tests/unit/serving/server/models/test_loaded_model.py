"""Checking, loading, warming and calling real SavedModels."""

import gc
import os
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tiny_models import save_doubler

from ordain.serving.export.description import WARMUP_FILE, Description, Feature
from ordain.serving.registry import private_copy
from ordain.serving.registry.directory import publish
from ordain.serving.registry.manifest import Manifest
from ordain.serving.registry.trust import Trust
from ordain.serving.scan.scan import scan
from ordain.serving.server.codec.tensor_protos import decode_proto
from ordain.serving.server.errors import Code, RequestError
from ordain.serving.server.models.checks import find_problems
from ordain.serving.server.models.loaded_model import LoadedModel
from ordain.serving.server.models.loading import load_version
from ordain.serving.server.models.signature_defs import LoadError, read_signatures
from ordain.serving.server.models.warmup import warm_up


def masked_crc32c(data: bytes) -> int:
    """TFRecord's checksum."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _record(length: int) -> bytes:
    """Head of a record of this length, followed by sixteen bytes only."""
    head = struct.pack("<Q", length)
    return head + struct.pack("<I", masked_crc32c(head)) + b"x" * 16


class Doubler(tf.Module):
    """Counts how often it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = tf.Variable(0)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="x"),
            tf.TensorSpec([None], tf.string, name="word"),
        ]
    )
    def double(self, x, word):
        self.calls.assign_add(1)
        tf.debugging.assert_less(x, 1000.0, "x is too large")
        return {"y": 2 * x, "word": word}

    @tf.function(input_signature=[])
    def count(self):
        return {"calls": self.calls.read_value()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "1"
    module = Doubler()
    signatures = {"serving_default": module.double, "count": module.count}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    features = (Feature("x", "float32"), Feature("word", "string", is_required=False))
    text = Description(features, "label", "regression").to_json()
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets" / "ordain.json").write_text(text)
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))
    request.inputs["word"].CopyFrom(tf.make_tensor_proto([b"a", b"b"]))
    (folder / WARMUP_FILE).parent.mkdir()
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)) as writer:
        for _ in range(3):
            writer.write(log.SerializeToString())
    return folder


@pytest.fixture
def model(folder):
    return LoadedModel(folder, 1)


def ask(model, **inputs):
    arrays = {n: np.array(v, dtype="float32" if n == "x" else object) for n, v in inputs.items()}
    signature = model.signature("serving_default")
    return model.run("serving_default", signature.complete(arrays)[0])


def test_a_call(model):
    outputs = ask(model, x=[1, 2.5], word=[b"a", b"\xff"])
    assert outputs["y"].tolist() == [2.0, 5.0]
    assert outputs["y"].dtype == np.float32
    assert outputs["word"].tolist() == [b"a", b"\xff"]


def test_an_optional_feature_has_the_default_of_the_model(model):
    assert ask(model, x=[1, 2])["word"].tolist() == [b"", b""]
    with pytest.raises(RequestError, match="Missing named input: x"):
        ask(model, word=[b"a"])


def test_no_rows(model):
    assert ask(model, x=[], word=[])["y"].shape == (0,)


def test_errors_of_the_graph_are_reported_without_trace(model):
    with pytest.raises(RequestError) as caught:
        ask(model, x=[5000.0])
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert "\n" not in caught.value.message
    assert ".py" not in caught.value.message


def test_warm_up_replays_recorded_requests_and_calls_the_rest_once(model, folder):
    assert warm_up(model, folder) == 4
    assert model.run("count", {})["calls"] == 3


@pytest.mark.parametrize(
    "content",
    [
        b"no record",
        b"x" * 11,
        # Lengths with correct checksums, which a reader could trust.
        _record(1 << 60),
        _record((1 << 64) - 1),
        _record(17),
    ],
)
def test_a_damaged_warm_up_file_is_skipped(model, tmp_path, content):
    (tmp_path / WARMUP_FILE).parent.mkdir()
    (tmp_path / WARMUP_FILE).write_bytes(content)
    assert warm_up(model, tmp_path) == 2


@pytest.mark.timeout(60)
def test_a_warm_up_file_that_is_a_pipe_is_skipped(model, tmp_path):
    (tmp_path / WARMUP_FILE).parent.mkdir()
    os.mkfifo(tmp_path / WARMUP_FILE)
    assert warm_up(model, tmp_path) == 2


@pytest.mark.parametrize("data", [None, b"\xff\xff", b""])
def test_a_folder_without_a_model_is_refused(tmp_path, data):
    if data is not None:
        (tmp_path / "saved_model.pb").write_bytes(data)
    with pytest.raises(LoadError):
        read_signatures(tmp_path)


def test_an_incomplete_version_is_not_loaded(folder, tmp_path):
    class Plain(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x):
            return {"y": 2 * x}

    module = Plain()
    signatures = {"serving_default": module.serve}
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=signatures)
    assert "manifest" in find_problems(tmp_path / "model")[0]
    version = publish(tmp_path / "model", tmp_path / "base", Manifest("toy", 0, ""))
    assert load_version(version, 1, None).version == 1
    (version / "variables" / "variables.index").write_bytes(b"other")
    with pytest.raises(LoadError, match=r"variables/variables\.index"):
        load_version(version, 1, None)


def test_a_hostile_model_is_refused_before_any_of_it_runs(tmp_path):
    target = tmp_path / "written"

    class Hostile(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x):
            tf.io.write_file(str(target), "owned")
            return {"y": x}

    module = Hostile()
    signatures = {"serving_default": module.serve}
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=signatures)
    version = publish(tmp_path / "model", tmp_path / "base", Manifest("toy", 0, ""))
    with pytest.raises(LoadError, match="WriteFile"):
        load_version(version, 1, None)
    assert not target.exists()


def test_the_checked_files_are_loaded(tmp_path):
    """While the graph is swapped again and again, only the published one loads, or none."""
    version = publish(save_doubler(tmp_path / "honest"), tmp_path / "base", Manifest("toy", 0, ""))
    other = save_doubler(tmp_path / "other", factor=3.0)
    graphs = [(folder / "saved_model.pb").read_bytes() for folder in (other, tmp_path / "honest")]
    is_done = threading.Event()

    def swap():
        while not is_done.is_set():
            for graph in graphs:
                (tmp_path / "part").write_bytes(graph)
                (tmp_path / "part").replace(version / "saved_model.pb")
                time.sleep(0.004)

    swapping = threading.Thread(target=swap)
    swapping.start()
    answers, refusals = [], []
    try:
        for _ in range(40):
            try:
                model = load_version(version, 1, None)
            except LoadError as error:
                refusals.append(str(error))
            else:
                answers.append(float(model.run("serving_default", {"x": np.ones(1, "f4")})["y"][0]))
    finally:
        is_done.set()
        swapping.join()
    assert set(answers) == {2.0} and refusals
    words = ("saved_model.pb has ", "saved_model.pb was changed")
    assert all(refusal.startswith(words) for refusal in refusals), refusals


def test_a_graph_swapped_between_check_and_load_is_not_loaded(tmp_path, monkeypatch):
    version = publish(save_doubler(tmp_path / "honest"), tmp_path / "base", Manifest("toy", 0, ""))
    other = save_doubler(tmp_path / "other", factor=3.0)

    def scan_and_swap(folder):
        found = scan(folder)  # the last of the checks
        (other / "saved_model.pb").replace(version / "saved_model.pb")
        return found

    monkeypatch.setattr("ordain.serving.server.models.checks.scan", scan_and_swap)
    model = load_version(version, 1, None)
    assert model.run("serving_default", {"x": np.ones(1, "f4")})["y"].tolist() == [2.0]


def test_a_file_that_changes_after_it_was_opened_is_not_loaded(tmp_path):
    """Written in place, which a hard link or shared blocks would pass on."""
    version = publish(save_doubler(tmp_path / "honest"), tmp_path / "base", Manifest("toy", 0, ""))
    model = load_version(version, 1, None)
    for path in version.rglob("*"):
        if path.is_file():
            path.write_bytes(b"other")
    assert model.run("serving_default", {"x": np.ones(1, "f4")})["y"].tolist() == [2.0]
    with pytest.raises(LoadError):
        load_version(version, 1, None)


def test_the_copy_is_removed_with_the_model(tmp_path):
    version = publish(save_doubler(tmp_path / "honest"), tmp_path / "base", Manifest("toy", 0, ""))
    before = _copies()
    model = load_version(version, 1, None)
    (copy,) = _copies() - before
    assert copy.stat().st_mode & 0o077 == 0
    del model
    gc.collect()
    assert _copies() == before
    (version / "saved_model.pb").write_bytes(b"other")
    with pytest.raises(LoadError):
        load_version(version, 1, None)
    assert _copies() == before


def _copies() -> set[Path]:
    """Folders that hold a version of this process."""
    own = private_copy._own.get(os.getpid())
    return {p for p in own[0].iterdir() if p.is_dir()} if own else set()


def test_an_unsigned_version_is_refused_while_signing_is_on(folder, tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = tmp_path / "public.pem"
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    key.write_bytes(public.public_bytes(serialization.Encoding.PEM, form))
    version = publish(folder, tmp_path / "base", Manifest("toy", 0, ""))
    with pytest.raises(LoadError, match="sig"):
        load_version(version, 1, Trust("toy", key))


def test_a_short_message_does_not_make_a_large_tensor():
    proto = tf.make_tensor_proto(1.0, shape=[1 << 20])
    assert decode_proto(proto, "x").size == 1 << 20
    for wrong in (tf.make_tensor_proto(1.0, shape=[1 << 30]), tf.make_tensor_proto([1, 2])):
        if wrong.dtype != tf.float32.as_datatype_enum:
            wrong.ClearField("tensor_content")
            wrong.ClearField("int_val")
        with pytest.raises(RequestError, match="elements"):
            decode_proto(wrong, "x")
