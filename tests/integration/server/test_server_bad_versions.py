"""Versions that hang, raise or take all memory while they are loaded, and requests that hang.

Their SavedModels are real, hold allowed operations only and pass the scan.
"""

import json
import shutil
import socket
import threading
import time
import urllib.request

import grpc
import psutil
import pytest
import tensorflow as tf
from broken_models import save_broken
from servers import PATIENCE_S, Server, end, start, wait_until, write_project
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from ordain.serving.registry.directory import publish
from ordain.serving.registry.label_file import read_labels
from ordain.serving.registry.labels import drop_canary, promote, set_canary
from ordain.serving.registry.manifest import Manifest
from ordain.serving.scan.scan import scan

WHO = ("test", "because")
PREDICT = "/v1/models/toy:predict"
#: What is wrong with each version, and the reason it is refused with.
FAULTS = {
    3: ("hang", "loading timed out after 12 s"),
    4: ("raise", "InvalidArgumentError: assertion failed: [not today]"),
    5: ("memory", "loading it takes more than 800 MB of memory; killed at"),
    6: ("default", "signature 'forever': the default of input 'x': type DT_QINT8"),
    7: ("warmup", "MemoryError: Unable to allocate"),
}
OPTIONS = ("--load-timeout-s", "12", "--load-memory-mb", "800", "--keep-loaded", "0")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Versions 1 and 2 are whole, the others are not; 1 is stable."""
    folder = tmp_path_factory.mktemp("bad")
    project = write_project(folder)
    base = folder / "work" / "serving" / "toy"
    for version in (1, 2, *FAULTS):
        kind = FAULTS[version][0] if version in FAULTS else ""
        model = save_broken(folder / f"model-{version}", version, kind)
        assert scan(model) == []
        publish(model, base, Manifest("toy", 0, ""))
    promote(base, 1, *WHO)
    return project


@pytest.fixture(scope="module")
def running(project):
    server = start(project, *OPTIONS)
    try:
        yield server.wait()
    finally:
        end(server)


@pytest.fixture
def server(running) -> Server:
    """The server with version 1 stable and no canary."""
    promote(running.base, 1, *WHO)
    running.wait_for(1, "stable")
    yield running
    drop(running.base)


def drop(base):
    if read_labels(base).canary is not None:
        drop_canary(base, *WHO)


def write_canary(base, version, share):
    """Puts the label where `ordain models canary` would refuse to."""
    labels = json.loads((base / "labels.json").read_text())
    labels["canary"] = {"version": version, "share": share}
    part = base / ".labels.part"
    part.write_text(json.dumps(labels))
    part.replace(base / "labels.json")


def state(server, version) -> tuple[str, str]:
    """A version's state, and why it is not served."""
    status, answer = server.ask(f"/v1/models/toy/versions/{version}")
    if status == 404:
        return "", ""
    found = answer["model_version_status"][0]
    return found["state"], found["status"]["error_message"]


def metric(server, name) -> float:
    with urllib.request.urlopen(server.rest + "/metrics", timeout=60) as page:
        lines = page.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(name)).rsplit(" ", 1)[1])


@pytest.mark.parametrize("version", FAULTS, ids=[kind for kind, _ in FAULTS.values()])
def test_it_is_refused_with_its_reason_and_stable_goes_on(server, version):
    before = server.memory_bytes
    peak, answers = 0, 0
    write_canary(server.base, version, 0.5)
    wait_until(lambda: state(server, version)[0])
    while state(server, version)[0] != "END":
        assert server.version() == 1
        answers += 1
        peak = max(peak, server.memory_bytes)
    reason = state(server, version)[1]
    assert reason.startswith(FAULTS[version][1])
    assert "\n" not in reason
    assert f"version {version} is refused: {reason}" in server.log.read_text()
    assert server.ask("/v2/health/ready") == (
        200,
        {"ready": True, "problems": [f"version {version} (canary) is not served: {reason}"]},
    )
    status, answer = server.ask(f"/v2/models/toy/versions/{version}/ready")
    assert (status, answer["reason"]) == (503, reason)
    assert peak - before < 300_000_000
    assert server.version() == 1
    # Nothing of the trial is left: the process that forks is the server's only child.
    wait_until(lambda: len(psutil.Process(server.process.pid).children(recursive=True)) == 1)


def test_labels_take_effect_while_a_version_hangs(server):
    set_canary(server.base, 3, 0.5, *WHO)
    wait_until(lambda: state(server, 3)[0] == "LOADING")
    # Version 2 is not in memory: it is checked, loaded and served meanwhile.
    promote(server.base, 2, *WHO)
    server.wait_for(2, "stable")
    assert state(server, 3)[0] == "LOADING"
    promote(server.base, 1, *WHO)
    server.wait_for(1, "stable")
    # The other way round: a stable version that hangs, and the way back.
    promote(server.base, 3, *WHO)
    wait_until(lambda: "version 3 (stable)" in str(server.ask("/v2/health/ready")[1]))
    assert server.version() == 1
    promote(server.base, 2, *WHO)
    server.wait_for(2, "stable")
    # Nobody wants version 3 any more: its process is ended, whatever time it had left.
    wait_until(lambda: state(server, 3)[0] == "")
    wait_until(lambda: len(psutil.Process(server.process.pid).children(recursive=True)) == 1)


def test_a_refused_version_is_tried_again_when_it_or_the_labels_change(server):
    folder = server.base / "2" / "variables" / "variables.index"
    whole = folder.read_bytes()
    folder.write_bytes(b"x")
    try:
        write_canary(server.base, 2, 0.5)
        wait_until(lambda: "variables.index has 1 bytes" in state(server, 2)[1])
        tries = metric(server, 'ordain_version_loads_total{result="refused"}')
        time.sleep(1)
        assert metric(server, 'ordain_version_loads_total{result="refused"}') == tries
        write_canary(server.base, 2, 0.4)
        refused = 'ordain_version_loads_total{result="refused"}'
        wait_until(lambda: metric(server, refused) == tries + 1)
    finally:
        folder.write_bytes(whole)  # below the version's folder, whose own entries stay
    wait_until(lambda: state(server, 2)[0] == "AVAILABLE")
    server.wait_for(2, "canary")


def test_a_restart_serves_stable_while_the_canary_hangs(project):
    base = project.parent / "work" / "serving" / "toy"
    promote(base, 1, *WHO)
    set_canary(base, 3, 0.5, *WHO)
    server = start(project, "--load-timeout-s", "600")
    try:
        server.wait()
        assert server.version() == 1
        wait_until(lambda: state(server, 3)[0] == "LOADING")
        process = psutil.Process(server.process.pid)
        # Who forks, who holds to the limits, and the version.
        wait_until(lambda: len(process.children(recursive=True)) == 3)
        children = process.children(recursive=True)
        # The process that forks is ended by somebody: what serves goes on, and says what is amiss.
        process.children()[0].kill()
        wait_until(lambda: state(server, 3)[0] == "END")
        assert state(server, 3)[1] == "the trial load gave no result"
        problems = server.ask("/v2/health/ready")[1]["problems"]
        assert "restart the server to load another version" in problems[-1]
        set_canary(base, 2, 0.5, *WHO)
        wait_until(lambda: "has died" in state(server, 2)[1])
        assert server.version() == 1
        assert server.stop() == 0
        assert psutil.wait_procs(children, 10)[1] == []
    finally:
        end(server)
        drop(base)


def test_a_stable_version_that_hangs_ends_the_start_with_its_reason(project, tmp_path):
    shutil.copytree(project.parent, tmp_path / "copy")
    copy = tmp_path / "copy" / "project"
    config = (copy / "pipeline.yaml").read_text()
    workspace = str(project.parent / "work")
    (copy / "pipeline.yaml").write_text(config.replace(workspace, str(tmp_path / "copy" / "work")))
    promote(tmp_path / "copy" / "work" / "serving" / "toy", 3, *WHO)
    server = start(copy, "--load-timeout-s", "2")
    try:
        assert server.process.wait(PATIENCE_S) == 5
        assert "version 3: loading timed out after 2 s" in server.log.read_text()
    finally:
        end(server)


@pytest.mark.parametrize("why", ["stable is refused", "the port is taken"])
def test_a_start_that_fails_ends_the_loads_that_it_began(project, tmp_path, why):
    base = project.parent / "work" / "serving" / "toy"
    promote(base, 1, *WHO)
    set_canary(base, 3, 0.5, *WHO)  # it hangs
    index = base / "1" / "variables" / "variables.index"
    whole = index.read_bytes()
    options = ()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        if why == "the port is taken":
            options = ("--rest-port", str(taken.getsockname()[1]))
        else:
            index.write_bytes(b"x")
        server = start(project, *options)
        try:
            code = server.process.wait(PATIENCE_S)
        finally:
            end(server)
            index.write_bytes(whole)
            drop(base)
    log = server.log.read_text()
    assert code == (2 if options else 5), log
    (error,) = [line for line in log.splitlines() if line.startswith("error: ")]
    if options:
        assert "cannot listen on" in error
    else:
        assert error.startswith("error: version 1: variables/variables.index has 1 bytes, not ")
        assert "version 3" not in error
    assert "version 3: load cancelled: the server stops" in log
    for untrue in ("Traceback", "no version has the label", "version 3 is refused", "destroyed"):
        assert untrue not in log, log


def test_a_request_that_hangs_takes_nothing_with_it(project):
    base = project.parent / "work" / "serving" / "toy"
    promote(base, 1, *WHO)
    server = start(project, "--request-timeout-s", "3", "--threads", "2").wait()
    answers = []

    def hang():
        document = {"signature_name": "forever", "instances": [9.0]}
        answers.append(server.ask(PREDICT, document))

    try:
        hanging = [threading.Thread(target=hang) for _ in range(6)]
        for thread in hanging:
            thread.start()
        time.sleep(0.5)  # more of them than there are threads, and the model is at one of them
        row = {"instances": [{"x": 1, "s": "a"}]}
        while any(thread.is_alive() for thread in hanging):
            assert server.ask(PREDICT, row)[0] == 200
        for thread in hanging:
            thread.join()
        assert [status for status, _ in answers] == [504] * 6
        assert answers[0][1] == {"error": "the model timed out after 3 s"}
        # The same signature, the same shape: nothing of it is left.
        document = {"signature_name": "forever", "instances": [1.0]}
        assert server.ask(PREDICT, document) == (200, {"predictions": [4.0]})
        assert ask_grpc(server, 9.0) is grpc.StatusCode.DEADLINE_EXCEEDED
        assert ask_grpc(server, 1.0) is grpc.StatusCode.OK
        assert metric(server, 'ordain_threads_lost{work="model"}') == 0
    finally:
        end(server)


def ask_grpc(server, value) -> grpc.StatusCode:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "toy"
    request.model_spec.signature_name = "forever"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([value]))
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            stub.Predict(request, timeout=120)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def test_a_kernel_that_cannot_be_interrupted_costs_a_thread_and_the_server_ends_in_time(project):
    base = project.parent / "work" / "serving" / "toy"
    promote(base, 1, *WHO)
    server = start(project, "--request-timeout-s", "1", "--drain-timeout-s", "2").wait()
    try:
        document = {"signature_name": "kernel", "instances": [20_000]}
        status, answer = server.ask(PREDICT, document)
        assert (status, answer) == (504, {"error": "the model timed out after 1 s"})
        wait_until(lambda: metric(server, 'ordain_threads_lost{work="model"}') == 1)
        status, answer = server.ask("/v2/health/ready")
        assert (status, answer["ready"]) == (200, True)
        assert "threads are blocked in the model" in answer["problems"][0]
        assert server.version() == 1
        started = time.monotonic()
        assert server.stop() == 0
        # The second of grace, the drain's two, and what it takes to leave.
        assert time.monotonic() - started < 30
    finally:
        end(server)
