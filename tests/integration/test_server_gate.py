"""The server gate with real servers: what is fine passes, and each fault is named.

The trials are held once, two at a time: each waits most of its time for TensorFlow's import.
"""

import base64
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
from models import export_of_one_number, serialize
from sandbox import Sandbox, states
from tfx.components.util import model_utils
from tfx.types import standard_artifacts

from ordain.components.server_gate.component import Executor, mark, try_model
from ordain.components.server_gate.rules import Limits
from ordain.errors import ExitCode
from ordain.serving.export.samples import write_samples
from ordain.serving.sandbox.golden import Golden, predict
from ordain.verdict import Outcome, Verdict

EXAMPLES = [serialize({"x": [i / 8.0], "y": [i % 2]}) for i in range(8)]
LIMITS = Limits(max_load_s=60, max_size_mb=10, max_memory_mb=1600, max_p99_ms=250, tolerance=1e-4)


class Noise(keras.layers.Layer):
    """Adds chance to every prediction: no two answers are the same."""

    def call(self, inputs: Any) -> Any:
        return inputs + tf.random.normal(tf.shape(inputs), stddev=1.0)


class Slow(keras.layers.Layer):
    """Multiplies large matrices that follow from the input, some hundred milliseconds long."""

    def call(self, inputs: Any) -> Any:
        matrix = tf.ones([1500, 1500]) * tf.reduce_mean(inputs) * 1e-4
        for _ in range(8):
            matrix = tf.matmul(matrix, matrix) * 1e-4
        return inputs + 0.0 * tf.reduce_mean(matrix)


class Hungry(keras.layers.Layer):
    """Takes a gigabyte and more for each call."""

    def call(self, inputs: Any) -> Any:
        return inputs + 0.0 * tf.reduce_mean(tf.random.uniform([350_000_000]))


def broken(folder: Path) -> Path:
    """A model whose variables were cut off."""
    export_of_one_number(folder)
    (data,) = folder.glob("variables/variables.data-*")
    data.write_bytes(data.read_bytes()[:10])
    return folder


def malicious(folder: Path) -> Path:
    """A model that reads a file whenever it is asked."""

    class Reads(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            text = tf.io.read_file("/etc/hostname")
            return inputs + 0.0 * tf.cast(tf.strings.length(text), tf.float32)

    return export_of_one_number(folder, Reads())


@pytest.fixture(scope="module")
def trials(tmp_path_factory) -> Callable[[str], Verdict]:
    """The verdict on each model, by name; the good one is tried between bad ones."""
    base = tmp_path_factory.mktemp("models")
    models = {
        "good": export_of_one_number(base / "good"),
        "noisy": export_of_one_number(base / "noisy", Noise()),
        "slow": export_of_one_number(base / "slow", Slow()),
        "hungry": export_of_one_number(base / "hungry", Hungry()),
        "broken": broken(base / "broken"),
    }
    assert write_samples(models["good"], EXAMPLES)
    asked = [
        ("noisy", "noisy", LIMITS),
        ("good", "good", LIMITS),
        ("slow", "slow", LIMITS),
        ("hungry", "hungry", LIMITS),
        ("broken", "broken", LIMITS),
        ("late", "good", dataclasses.replace(LIMITS, max_load_s=0.01)),
    ]
    with ThreadPoolExecutor(2) as pool:
        held: dict[str, Future[Verdict]] = {
            name: pool.submit(try_model, models[model], EXAMPLES, limits, base / f"{name}-golden")
            for name, model, limits in asked
        }
        done = {name: future.result() for name, future in held.items()}
    return done.__getitem__


def blocking(verdict: Verdict) -> dict[str, str]:
    return {r.kind: r.text for r in verdict.reasons if r.outcome is Outcome.BLOCKED}


def test_a_good_model_passes_between_bad_ones(trials):
    verdict = trials("good")
    assert not verdict.is_blocked, verdict.to_json()
    found = {reason.kind: reason for reason in verdict.reasons}
    assert set(found) == {
        "scan",
        "size",
        "network",
        "files",
        "load",
        "memory",
        "answers.rest",
        "answers.grpc",
        "latency.rest",
        "latency.grpc",
    }
    for kind in ("size", "load", "memory", "latency.rest", "latency.grpc"):
        assert 0 < found[kind].measured < found[kind].limit
    # Eight rows alone and all at once; through gRPC also as serialized examples.
    assert found["answers.rest"].text.startswith("9 REST responses equal the model's own")
    assert found["answers.grpc"].text.startswith("10 gRPC responses equal the model's own")
    for kind in ("latency.rest", "latency.grpc"):
        assert "ms of 300 requests; p99 may be at most 250 ms" in found[kind].text


def test_wrong_answers(trials):
    found = blocking(trials("noisy"))
    assert set(found) == {"answers.rest", "answers.grpc"}
    assert "REST responses differ from the model's own by up to" in found["answers.rest"]


def test_too_slow(trials):
    found = blocking(trials("slow"))
    assert set(found) == {"latency.rest", "latency.grpc"}
    for text in found.values():
        assert "4 of 4 requests took longer than 250 ms" in text
        assert "in a second series, after 4 of 4" in text


def test_too_much_memory(trials):
    found = blocking(trials("hungry"))
    assert set(found) == {"server.memory"}
    assert "killed at" in found["server.memory"]


def test_does_not_load(trials):
    found = blocking(trials("broken"))
    assert set(found) == {"server.crash"}
    assert "version 1" in found["server.crash"]


def test_loads_too_late(trials):
    assert blocking(trials("late")) == {
        "server.load": "the model was not loaded: timed out after 0.01 s"
    }


class TestBeforeLoading:
    @pytest.fixture
    def never_served(self, monkeypatch):
        def never(*_: object) -> None:
            raise AssertionError("the model was loaded")

        monkeypatch.setattr("ordain.components.server_gate.component._serve", never)

    def test_a_malicious_operation(self, tmp_path, never_served):
        verdict = try_model(malicious(tmp_path / "m"), EXAMPLES, LIMITS, tmp_path / "kept")
        assert "ReadFile reads files" in blocking(verdict)["scan"]

    def test_too_large(self, tmp_path, never_served):
        model = export_of_one_number(tmp_path / "m")
        limits = dataclasses.replace(LIMITS, max_size_mb=0.01)
        found = blocking(try_model(model, EXAMPLES, limits, tmp_path / "kept"))
        assert set(found) == {"size"} and "may be at most 0.01 MB" in found["size"]

    def test_nothing_to_ask(self, tmp_path, never_served):
        model = export_of_one_number(tmp_path / "m")
        assert set(blocking(try_model(model, [], LIMITS, tmp_path / "kept"))) == {"golden"}


def artifact(kind: Any, folder: Path) -> Any:
    made = kind()
    made.uri = str(folder)
    folder.mkdir(exist_ok=True)
    return made


def test_the_component_marks_its_blessing_as_tfx_does(tmp_path):
    model = artifact(standard_artifacts.Model, tmp_path / "model")
    malicious(tmp_path / "model" / "Format-Serving")
    examples = artifact(standard_artifacts.Examples, tmp_path / "examples")
    examples.split_names = '["train", "eval"]'
    examples.span = 3
    (tmp_path / "examples" / "Split-eval").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / "examples" / "Split-eval" / "rows.gz"), "GZIP") as w:
        for example in EXAMPLES:
            w.write(example)
    blessing = artifact(standard_artifacts.InfraBlessing, tmp_path / "blessing")
    policy = {**dataclasses.asdict(LIMITS), "requests": 4, "allow_changes": {}}
    Executor().Do(
        {"model": [model], "examples": [examples]},
        {"blessing": [blessing]},
        {"policy": json.dumps(policy)},
    )
    assert not model_utils.is_infra_validated(blessing)
    assert (tmp_path / "blessing" / "INFRA_NOT_BLESSED").exists()
    kept = Verdict.from_json(blessing.get_string_custom_property("verdict"))
    assert kept.gate == "server" and kept.is_blocked
    assert blessing.get_string_custom_property("judged") == str(model.id)

    good = artifact(standard_artifacts.InfraBlessing, tmp_path / "good")
    mark(good, Verdict.of("server", []), model)
    assert model_utils.is_infra_validated(good)
    assert (tmp_path / "good" / "INFRA_BLESSED").exists()


def test_golden_requests_are_stored(tmp_path):
    expected = predict(export_of_one_number(tmp_path / "m"), EXAMPLES)
    golden = Golden(tuple(EXAMPLES), ({"x": 0.5},), expected)
    golden.write(tmp_path / "kept")
    back = json.loads((tmp_path / "kept" / "golden.json").read_text())
    assert tuple(map(base64.b64decode, back["examples"])) == golden.examples
    assert back["instances"] == [{"x": 0.5}]
    assert back["expected"]["outputs"] == pytest.approx(expected["outputs"])


def test_a_process_off_the_network_reaches_only_its_own_loopback():
    script = (
        "import socket\nfrom ordain.serving.sandbox.network import isolate_network\n"
        "if not isolate_network(): print('not allowed'); raise SystemExit\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname(), 2).close()\n"
        "try: socket.create_connection(('192.0.2.1', 80), 2)\n"
        "except OSError as error: print(error.strerror)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    if done.stdout == "not allowed\n":
        pytest.skip("this system lets us make no network namespace")
    assert done.stdout == "Network is unreachable\n"


def test_a_refused_model_is_not_published_and_ends_with_exit_code_5(
    small: Callable[..., Sandbox],
) -> None:
    sandbox = small(gate={"server": {"max_size_mb": 0.001}})

    result = sandbox.run()

    assert result.failure is None, result.failure
    assert result.exit_code is ExitCode.INFRASTRUCTURE
    assert result.headline == "the server gate refused the model: nothing was pushed"
    assert [v.gate for v in result.verdicts] == ["data", "evaluation", "server"]
    assert states(result)["ServerGate"] == "complete"
    assert sandbox.versions == []
