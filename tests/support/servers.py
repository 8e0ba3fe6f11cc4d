"""Tiny SavedModels, a serving directory of them, and a real server process over it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf
import yaml
from tensorflow.core.protobuf import saved_model_pb2

from ordain.serving.registry.directory import publish
from ordain.serving.registry.labels import record_push
from ordain.serving.registry.manifest import Manifest

#: Limit on what must happen; long, as a version takes half a minute to load on a busy machine.
PATIENCE_S = 240


def wait_until(is_so: Callable[[], bool], log: Path | None = None) -> None:
    """Returns once it is so; a failure quotes the log."""
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until, log.read_text() if log is not None else "it is not so"
        time.sleep(0.02)


class Toy(tf.Module):
    """Says in each answer which version it is: `v`."""

    def __init__(self, version: int) -> None:
        super().__init__()
        self.offset = tf.Variable(float(version), trainable=False)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="x"),
            tf.TensorSpec([None], tf.string, name="s"),
        ]
    )
    def plain(self, x, s):
        rows = tf.shape(x)[0]
        version = tf.cast(self.offset, tf.int32)
        return {"y": 2 * x + self.offset, "n": tf.strings.length(s), "v": tf.fill([rows], version)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def pair(self, x):
        return {"y": tf.reduce_sum(x, 1)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64, name="i"),
            tf.TensorSpec([None], tf.bool, name="b"),
        ]
    )
    def whole(self, i, b):
        return {"i": i, "b": tf.logical_not(b)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="s")])
    def text(self, s):
        return {"raw_bytes": s, "text": s}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def examples(self, examples):
        parsed = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([], tf.float32)})
        return {"outputs": parsed["x"]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classes(self, inputs):
        x = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]
        labels = tf.tile([["no", "yes"]], [tf.shape(x)[0], 1])
        return {"classes": labels, "scores": tf.stack([1 - x, x], 1)}

    @tf.function(input_signature=[tf.TensorSpec([2, 2], tf.float32, name="m")])
    def fixed(self, m):
        return {"trace": tf.linalg.trace(m)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="rounds")])
    def slow(self, rounds):
        state = tf.fill([256, 256], 1 / 256.0)
        last = tf.reduce_max(rounds)
        for _ in tf.range(last):
            state = tf.matmul(state, state)
        return {"done": tf.cast(rounds, tf.float32) + 0 * state[0, 0]}


METHODS = {"classify": "classify", "regress": "regress"}


def save_toy(folder: Path, version: int) -> Path:
    """Saves the toy as a SavedModel; two signatures get the methods that TF 1 would give them."""
    toy = Toy(version)
    signatures = {
        "serving_default": toy.plain,
        "pair": toy.pair,
        "whole": toy.whole,
        "text": toy.text,
        "examples": toy.examples,
        "classify": toy.classes,
        "regress": toy.examples,
        "fixed": toy.fixed,
        "slow": toy.slow,
    }
    tf.saved_model.save(toy, str(folder), signatures=signatures)
    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for name, method in METHODS.items():
        definition = saved.meta_graphs[0].signature_def[name]
        definition.method_name = f"tensorflow/serving/{method}"
    path.write_bytes(saved.SerializeToString())
    return folder


def publish_toys(base: Path, folder: Path, versions: int) -> None:
    """Publishes versions 1 to `versions`, each of which answers with its number.

    The newest is stable.
    """
    for version in range(1, versions + 1):
        model = save_toy(folder / f"toy-{version}", version)
        assert publish(model, base, Manifest("toy", 0, "")).name == str(version)
        record_push(base, version, "test", "auto")


def write_project(folder: Path) -> Path:
    """A project called toy, whose serving directory is `<folder>/work/serving/toy`."""
    project = folder / "project"
    (project / "data" / "1").mkdir(parents=True)
    (project / "data" / "1" / "rows.csv").write_text("x,y\n1,0\n")
    config = {
        "name": "toy",
        "workspace": str(folder / "work"),
        "data": {"path": "data", "pattern": "{SPAN}/*.csv", "label": "y"},
        "evaluate": {"metrics": ["ExampleCount", "AUC"], "thresholds": {"auc": {"min": 0.5}}},
    }
    (project / "pipeline.yaml").write_text(yaml.safe_dump(config))
    body = "def preprocessing_fn(inputs):\n    return inputs\n\n\ndef run_fn(fn_args):\n    pass\n"
    (project / "model.py").write_text(body)
    return project


def environment() -> dict[str, str]:
    """The variables of a process that says little."""
    return os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}


def ordain(*arguments: str | Path) -> list[str]:
    """The command line, as a process."""
    return [sys.executable, "-m", "ordain.cli.main", *map(str, arguments)]


@dataclass
class Server:
    """A running `ordain serve`."""

    project: Path
    process: subprocess.Popen[str]
    log: Path
    ready: str = ""
    context: ssl.SSLContext | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def rest(self) -> str:
        return re.search(r"https?://\S+", self.ready)[0]

    @property
    def grpc(self) -> str:
        return re.search(r"grpc (\S+)", self.ready)[1]

    @property
    def base(self) -> Path:
        return self.project.parent / "work" / "serving" / "toy"

    def wait(self) -> Server:
        """Waits for the line that says what is served where."""
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline()
        assert "serving toy" in self.ready, self.log.read_text()
        return self

    def ask(
        self, path: str, document: Any = None, method: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        """Status and JSON of one request; a document is sent with POST, bytes as they are."""
        body = document if isinstance(document, bytes) or document is None else json.dumps(document)
        data = body.encode() if isinstance(body, str) else body
        request = urllib.request.Request(self.rest + path, data, method=method)
        for name, value in (
            self.headers | {k.replace("_", "-"): v for k, v in headers.items()}
        ).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=120, context=self.context) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def version(self, label: str = "", **headers: str) -> int:
        """The version that answers a request."""
        at = f"/labels/{label}" if label else ""
        document = {"instances": [{"x": 1, "s": "a"}]}
        status, answer = self.ask(f"/v1/models/toy{at}:predict", document, **headers)
        assert status == 200, answer
        return answer["predictions"][0]["v"]

    def wait_for(self, version: int, label: str = "") -> None:
        """Returns once a version answers."""
        wait_until(lambda: self.version(label) == version, self.log)

    @property
    def memory_bytes(self) -> int:
        """Resident memory of the process."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> int:
        """Sends SIGTERM and gives the exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE_S)


def start(project: Path, *options: str | Path) -> Server:
    """Starts a server on free ports; `wait` returns once it serves."""
    log = project.parent / f"server-{time.monotonic_ns()}.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            ordain("serve", project, "--rest-port", "0", "--grpc-port", "0", *options),
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            env=environment(),
            cwd=Path(__file__).resolve().parents[2],
        )
    return Server(project, process, log)


def end(server: Server) -> None:
    """Ends a server that a test may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        server.process.kill()
    server.process.wait(PATIENCE_S)


def copy_version(base: Path, version: int, to: int) -> Path:
    """A version's folder under another number, manifest and all."""
    return Path(shutil.copytree(base / str(version), base / str(to)))
