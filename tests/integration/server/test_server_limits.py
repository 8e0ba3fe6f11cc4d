"""Token, TLS, limits with their status codes, malformed requests, and the drain at the end."""

import concurrent.futures
import subprocess
import threading
import time
import urllib.error
import urllib.request

import grpc
import pytest
import tensorflow as tf
from servers import PATIENCE_S, environment, ordain, wait_until
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from benchmarks import serving_malformed

PREDICT = "/v1/models/toy:predict"
ROWS = {"instances": [{"x": 1, "s": "a"}]}


class TestAccess:
    @pytest.mark.parametrize(
        "header", ["", "Bearer", "Bearer wrong", "Basic correct-horse-battery", "Bearer caf\xe9"]
    )
    @pytest.mark.parametrize("path", ["/v1/models/toy", "/v2", "/metrics", "/nothing"])
    def test_without_the_token_nothing_is_said(self, locked, path, header):
        status, answer = locked.ask(path, Authorization=header)
        assert status == 401
        assert "Bearer" in answer["error"]

    def test_health_is_free(self, locked):
        for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/toy/ready"):
            assert locked.ask(path, Authorization="")[0] == 200

    def test_with_it_over_tls(self, locked):
        assert locked.rest.startswith("https://")
        assert locked.ask(PREDICT, ROWS)[1]["predictions"][0]["v"] == 1

    def test_a_certificate_nobody_vouches_for_is_refused_by_the_client(self, locked):
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(locked.rest + "/v2/health/live", timeout=60)

    def test_grpc(self, locked, certificate):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "toy"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
        request.inputs["s"].CopyFrom(tf.make_tensor_proto([b"a"]))
        trust = grpc.ssl_channel_credentials(certificate[0].read_bytes())
        with grpc.secure_channel(locked.grpc, trust) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.Predict(request, timeout=120)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            header = (("authorization", locked.headers["Authorization"]),)
            assert stub.Predict(request, timeout=120, metadata=header).model_spec.version.value == 1
            request.inputs["s"].CopyFrom(tf.make_tensor_proto([b"a" * 30_000]))
            with pytest.raises(grpc.RpcError) as caught:
                stub.Predict(request, timeout=120, metadata=header)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


class TestLimits:
    def test_body(self, locked):
        status, answer = locked.ask(PREDICT, b" " * 20_001)
        assert (status, "20000 bytes" in answer["error"]) == (413, True)

    def test_rows(self, locked):
        assert locked.ask(PREDICT, {"instances": ROWS["instances"] * 8})[0] == 200
        status, answer = locked.ask(PREDICT, {"instances": ROWS["instances"] * 9})
        assert (status, "has 9 rows, allowed are 8" in answer["error"]) == (400, True)

    def test_depth(self, locked):
        status, answer = locked.ask(PREDICT, b'{"instances": ' + b"[" * 300 + b"]" * 300 + b"}")
        assert (status, "recursion limit exceeded" in answer["error"]) == (400, True)

    def test_time_and_queue(self, locked):
        # More rounds than the time limit allows keep the model busy; two more may wait.
        slow = {"signature_name": "slow", "instances": [6_000]}
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: locked.ask(PREDICT, slow), range(8)))
        statuses = sorted(status for status, _ in answers)
        assert set(statuses) == {429, 504}, statuses
        said = {status: answer["error"] for status, answer in answers}
        assert "the queue is full" in said[429]
        assert "the model timed out after 0.8 s" in said[504]
        # It recovers once the model is done.
        wait_until(lambda: locked.ask(PREDICT, ROWS)[0] == 200)


def test_a_bad_request_does_not_fail_its_neighbours(server):
    def ask(number):
        good = tf.train.Example()
        good.features.feature["x"].float_list.value.append(number)
        data = b"\x00garbage" if number % 5 == 0 else good.SerializeToString()
        import base64

        text = base64.b64encode(data).decode()
        document = {"signature_name": "examples", "instances": [{"b64": text}]}
        return number, server.ask(PREDICT, document)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for number, (status, answer) in pool.map(ask, range(100)):
            if number % 5 == 0:
                assert status == 400, answer
            else:
                assert (status, answer) == (200, {"predictions": [float(number)]})


def test_malformed_requests_are_each_answered_4xx_with_a_message(server):
    limit = 16_000_000
    serving_malformed.run(server.rest, "toy", 60, 2, limit)
    before = server.memory_bytes
    tally = serving_malformed.run(server.rest, "toy", 500, 1, limit)
    assert tally.wrong == []
    assert len(tally.kinds) > 12
    assert server.process.poll() is None
    assert server.memory_bytes - before < 60_000_000
    assert server.ask(PREDICT, ROWS)[0] == 200
    assert "Traceback" not in server.log.read_text()


class TestStart:
    def refused(self, *arguments) -> str:
        done = subprocess.run(
            ordain("serve", *arguments),
            check=False,
            capture_output=True,
            text=True,
            env=environment(),
        )
        assert done.returncode == 2, done.stderr
        return done.stderr

    def test_an_address_others_reach_needs_a_token(self, server):
        text = self.refused(server.project, "--host", "0.0.0.0")
        assert "--token-file FILE requires one; --insecure serves without" in text

    def test_half_of_tls(self, server):
        assert "must be given together" in self.refused(server.project, "--tls-cert", "cert.pem")

    def test_an_empty_token(self, server, tmp_path):
        (tmp_path / "token").write_text("\n")
        assert "is empty" in self.refused(server.project, "--token-file", tmp_path / "token")


def test_the_drain_loses_nothing(locked):
    """Last in this file: it ends the locked server."""
    lost, answered = [], []
    stopped = threading.Event()

    def ask():
        while not stopped.is_set():
            try:
                status, answer = locked.ask(PREDICT, ROWS)
            except urllib.error.URLError as error:
                if isinstance(error.reason, ConnectionRefusedError):
                    return  # it listens no more, and says so
                lost.append(error)
                return
            answered.append(status)
            if status not in (200, 429):
                lost.append((status, answer))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    locked.process.terminate()
    time.sleep(0.3)
    assert locked.ask("/v2/health/live")[0] == 200
    assert locked.ask("/v2/health/ready") == (503, {"ready": False})
    assert locked.process.wait(PATIENCE_S) == 0
    stopped.set()
    for thread in threads:
        thread.join()
    assert lost == []
    assert len(answered) > 4
    assert "drained" in locked.log.read_text()
