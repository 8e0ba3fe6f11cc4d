"""Files and artifacts in a bucket: a real server of the protocol, a broken network, a kill."""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bucket_server import Wire, new_bucket, storing

from ordain.errors import InfrastructureError
from ordain.storage import bucket as transfers
from ordain.storage.bucket import BUCKET_ROOT, address_of, workspace_of
from ordain.storage.bucket_artifacts import MARKER, RunBucket

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def client():
    with storing() as made:
        yield made


@pytest.fixture
def bucket(client):
    with new_bucket(client) as made:
        yield made


@pytest.fixture
def work(bucket):
    """A pod's workspace."""
    return workspace_of(f"gs://{bucket.name}/ml")


@pytest.fixture
def model(work):
    """An artifact's folder, with a folder that is empty."""
    folder = work / "toy" / "artifacts" / "Trainer" / "model" / "8"
    (folder / "variables").mkdir(parents=True)
    (folder / "assets").mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.data").write_bytes(os.urandom(300_000))
    return folder


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def lose(work):
    """Deletes the local files, as when a pod ends."""
    shutil.rmtree(work)


def test_a_workspace_is_named_after_its_address(bucket, work):
    assert work == BUCKET_ROOT / bucket.name / "ml"
    assert address_of(work / "toy") == f"gs://{bucket.name}/ml/toy"
    assert BUCKET_ROOT.stat().st_mode & 0o777 == 0o700


class TestArtifacts:
    def test_another_pod_has_the_same_files_and_folders(self, bucket, work, model):
        before = contents(model)
        RunBucket(work).keep(str(model))
        lose(work)

        RunBucket(work).fetch(str(model))

        assert contents(model) == before
        assert [path.name for path in model.parent.iterdir()] == ["8"]
        names = [blob.name for blob in bucket.list_blobs()]
        assert f"ml/toy/artifacts/Trainer/model/8{MARKER}" in names

    def test_artifact_without_files_is_a_folder(self, work):
        folder = work / "toy" / "artifacts" / "Pusher" / "pushed_model" / "9"
        folder.mkdir(parents=True)
        RunBucket(work).keep(str(folder))
        lose(work)
        RunBucket(work).fetch(str(folder))
        assert contents(folder) == {}

    def test_local_and_mounted_files_are_not_fetched(self, work, model, tmp_path):
        # No store is asked: the first has never been kept.
        RunBucket(work).fetch(str(model))
        RunBucket(work).fetch(str(tmp_path / "none"))
        assert not RunBucket(work).discard(str(tmp_path))
        assert RunBucket(work).outputs_of(tmp_path, 8) == []
        RunBucket(work).keep(str(tmp_path))

    def test_has_local_files_or_a_marker(self, work, model, tmp_path):
        store = RunBucket(work)
        assert store.has(str(model))
        assert store.has(str(tmp_path))
        assert not store.has(str(tmp_path / "none"))
        assert not store.has("")
        shutil.move(model, tmp_path / "model")
        assert not store.has(str(model))
        shutil.move(tmp_path / "model", model)
        store.keep(str(model))
        lose(work)
        assert store.has(str(model))
        assert not model.exists()

    def test_a_file_that_is_uploaded_in_pieces(self, work, model):
        (model / "large").write_bytes(os.urandom(9_000_000))
        before = contents(model)
        RunBucket(work).keep(str(model))
        lose(work)
        RunBucket(work).fetch(str(model))
        assert contents(model) == before

    def test_retry_removes_files_of_the_attempt_before(self, bucket, work, model):
        RunBucket(work).keep(str(model))
        (model / "saved_model.pb").rename(model / "other.pb")
        RunBucket(work).keep(str(model))
        before = contents(model)
        lose(work)
        RunBucket(work).fetch(str(model))
        assert contents(model) == before
        assert not any(blob.name.endswith("saved_model.pb") for blob in bucket.list_blobs())

    def test_a_pod_killed_while_it_uploads_leaves_no_artifact(self, bucket, work, model):
        script = (
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "from google.cloud.storage import Blob\n"
            "from ordain.storage.bucket_artifacts import RunBucket\n"
            "real = Blob.upload_from_filename\n"
            "def upload(self, *a, **k):\n"
            "    if self.name.endswith('variables.data'):\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
            "    return real(self, *a, **k)\n"
            "Blob.upload_from_filename = upload\n"
            "RunBucket(Path(sys.argv[1])).keep(sys.argv[2])\n"
        )
        # What an earlier try had left whole is not taken for the later one's.
        RunBucket(work).keep(str(model))
        command = [sys.executable, "-c", script, str(work), str(model)]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9
        before = contents(model)
        shutil.move(model, work / "kept")
        with pytest.raises(InfrastructureError, match=r"model/8: artifact is incomplete: gs://"):
            RunBucket(work).fetch(str(model))
        assert not model.exists()

        shutil.move(work / "kept", model)
        RunBucket(work).keep(str(model))
        lose(work)
        RunBucket(work).fetch(str(model))
        assert contents(model) == before

    def test_outputs_of_a_killed_pod_are_found_and_removed(self, bucket, work, model):
        node = model.parents[1]
        beside = model.with_name("80")
        shutil.copytree(model, beside)
        other = node / "model_run" / "8"
        other.mkdir(parents=True)
        store = RunBucket(work)
        for folder in (model, beside, other):
            store.keep(str(folder))
        bucket.blob(f"ml/toy/artifacts/Trainer/model/8{MARKER}").delete()
        lose(work)

        assert store.outputs_of(node, 8) == [model, other]
        assert store.discard(str(model))
        assert store.discard(str(other))
        assert not store.discard(str(model))

        left = {blob.name.removeprefix("ml/toy/artifacts/Trainer/") for blob in bucket.list_blobs()}
        assert left == {
            f"model/80{MARKER}",
            "model/80/saved_model.pb",
            "model/80/variables/variables.data",
        }

    @pytest.mark.parametrize("changed", [b"grape", b"graph and more", b""])
    def test_an_object_that_was_changed_is_refused_and_leaves_nothing(
        self, bucket, work, model, changed
    ):
        RunBucket(work).keep(str(model))
        lose(work)
        name = "ml/toy/artifacts/Trainer/model/8/saved_model.pb"
        bucket.blob(name).upload_from_string(changed)
        with pytest.raises(InfrastructureError) as caught:
            RunBucket(work).fetch(str(model))
        found = f"gs://{bucket.name}/{name}: changed after its upload: {len(changed)} bytes with"
        assert caught.value.message.startswith(found)
        assert "uploaded were 5 bytes with" in caught.value.message
        assert "restore it" in caught.value.hint
        assert list(model.parent.iterdir()) == []

    def test_an_object_that_is_gone_is_named(self, bucket, work, model):
        RunBucket(work).keep(str(model))
        lose(work)
        bucket.blob("ml/toy/artifacts/Trainer/model/8/saved_model.pb").delete()
        with pytest.raises(InfrastructureError, match=r"8/saved_model\.pb: 404"):
            RunBucket(work).fetch(str(model))
        assert list(model.parent.iterdir()) == []

    @pytest.mark.parametrize(
        ("marker", "problem"),
        [
            ("no json", "Expecting value"),
            ("[]", "list indices"),
            ('{"form": 2}', "format 2, and this image reads format 1"),
            ('{"form": 1, "files": [], "folders": ["../../up"]}', "is not a path below"),
            (
                '{"form": 1, "files": [{"path": "/etc/x", "bytes": 1, "sha256": ""}], '
                '"folders": []}',
                "'/etc/x' is not a path below",
            ),
        ],
    )
    def test_invalid_marker_is_refused(self, bucket, work, marker, problem):
        bucket.blob(f"ml/toy/5{MARKER}").upload_from_string(marker)
        with pytest.raises(InfrastructureError, match="is not a marker") as caught:
            RunBucket(work).fetch(str(work / "toy" / "5"))
        assert problem in caught.value.message
        assert not (work / "toy").exists()


class TestFiles:
    def test_pulls_what_another_pod_pushed(self, work):
        log = work / "toy" / "runs" / "r" / "logs" / "A.log"
        beside = log.with_name("A.log.old")
        log.parent.mkdir(parents=True)
        log.write_text("one")
        beside.write_text("old")
        store = RunBucket(work)
        store.push(log)
        store.push(beside)
        lose(work)

        RunBucket(work).pull(log)

        assert log.read_text() == "one"
        assert not beside.exists()
        RunBucket(work).pull(log.parents[1])
        assert beside.read_text() == "old"

    def test_missing_files_are_no_error(self, work):
        RunBucket(work).pull(work / "toy" / "none")
        RunBucket(work).push(work / "toy" / "none")
        assert not (work / "toy").exists()

    def test_push_removes_deleted_files_that_were_pulled_only(self, bucket, work):
        outbox = work / "toy" / "outbox"
        for name in ("a", "b"):
            bucket.blob(f"ml/toy/outbox/{name}.json").upload_from_string(name)
        store = RunBucket(work)
        store.pull(outbox)
        bucket.blob("ml/toy/outbox/c.json").upload_from_string("another pod's")
        (outbox / "a.json").unlink()
        (outbox / "b.json").write_text("tried")
        store.push(outbox)
        left = {blob.name[-6:]: blob.download_as_text() for blob in bucket.list_blobs()}
        assert left == {"b.json": "tried", "c.json": "another pod's"}


class TestFailures:
    def test_a_bucket_that_is_not_there(self, client):
        work = workspace_of("gs://none-such/ml")
        try:
            (work / "runs").mkdir(parents=True)
            (work / "runs" / "x").write_text("x")
            with pytest.raises(InfrastructureError, match=r"gs://none-such/ml/runs/x: 404") as put:
                RunBucket(work).push(work / "runs" / "x")
            assert "make the bucket" in put.value.hint
            with pytest.raises(InfrastructureError, match=r"gs://none-such/ml/runs: 404"):
                RunBucket(work).pull(work / "runs")
        finally:
            shutil.rmtree(BUCKET_ROOT / "none-such")

    def test_no_permission(self, work, model, monkeypatch):
        class Refusing(http.server.BaseHTTPRequestHandler):
            def answer(self):
                self.rfile.read(int(self.headers.get("content-length") or 0))
                text = "the account does not have storage.objects.delete access"
                body = json.dumps({"error": {"code": 403, "message": text}}).encode()
                self.send_response(403)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        try:
            with pytest.raises(InfrastructureError, match=r"objects\.json: 403 .*delete") as put:
                RunBucket(work).keep(str(model))
            assert "roles/storage.objectUser" in put.value.hint
            with pytest.raises(InfrastructureError, match=r"gs://.*/ml/toy/9.objects.json: 403"):
                RunBucket(work).fetch(str(work / "toy" / "9"))
        finally:
            server.shutdown()
            server.server_close()

    def test_interrupted_transfer_is_retried(self, client, work, model, monkeypatch):
        host = urlsplit(os.environ["STORAGE_EMULATOR_HOST"])
        wire = Wire((host.hostname, host.port))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{wire.port}")
        try:
            before = contents(model)
            wire.cut_after(150_000, times=2)
            RunBucket(work).keep(str(model))
            assert wire.cuts_left == 0
            lose(work)
            RunBucket(work).fetch(str(model))
            assert contents(model) == before
        finally:
            wire.close()

    def test_unavailable_store_is_an_error(self, work, model, monkeypatch):
        monkeypatch.setattr(transfers, "PATIENCE_S", 0.5)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
        with pytest.raises(InfrastructureError, match=r"gs://.*8.objects.json: .*refused") as put:
            RunBucket(work).keep(str(model))
        assert "check the network" in put.value.hint

    def test_unwritable_workspace_is_named(self, work, model):
        RunBucket(work).keep(str(model))
        lose(work)
        work.parent.mkdir(parents=True, exist_ok=True)
        work.write_text("a file")
        with pytest.raises(InfrastructureError, match="model/8 cannot be written: Not a dir"):
            RunBucket(work).fetch(str(model))
        work.unlink()

    def test_missing_folder_cannot_be_uploaded(self, work):
        with pytest.raises(InfrastructureError, match="toy/7 cannot be read: No such file"):
            RunBucket(work).keep(str(work / "toy" / "7"))
