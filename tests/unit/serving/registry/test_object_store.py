"""Publishing to an object store: a real server of the protocol, and a client that is killed."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from bucket_server import storing

from ordain.errors import ConfigError, InfrastructureError
from ordain.serving.registry.manifest import Manifest
from ordain.serving.registry.object_store import list_object_versions, publish_objects
from ordain.serving.registry.served import (
    check_served,
    find_served,
    holds_files,
    is_preceded,
    private_copy,
)
from ordain.serving.registry.verification import verify

ROOT = Path(__file__).resolve().parents[4]
ABOUT = Manifest("toy", 0, "")
ADDRESS = "gs://models/serving/toy"


@pytest.fixture(scope="module")
def store():
    """A bucket in fake-gcs-server; yields the client's bucket."""
    with storing() as client:
        yield client.create_bucket("models")


@pytest.fixture
def bucket(store):
    for blob in store.list_blobs():
        blob.delete()
    return store


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(os.urandom(200_000))
    return folder


def test_version_is_complete_and_returned_by_address(bucket, model, tmp_path):
    assert publish_objects(model, ADDRESS, ABOUT) == f"{ADDRESS}/1"
    assert publish_objects(model, f"{ADDRESS}/", ABOUT) == f"{ADDRESS}/2"
    assert list_object_versions(ADDRESS) == [1, 2]
    fetched = tmp_path / "2"
    for blob in bucket.list_blobs(prefix="serving/toy/2/"):
        path = fetched / blob.name.removeprefix("serving/toy/2/")
        path.parent.mkdir(parents=True, exist_ok=True)
        blob.download_to_filename(path)
    assert verify(fetched) == []
    assert json.loads((fetched / "manifest.json").read_text())["parent"] == 1


def test_concurrent_publishers_get_a_version_each(bucket, model):
    given, threads = [], []
    for _ in range(4):
        push = lambda: given.append(publish_objects(model, ADDRESS, ABOUT))  # noqa: E731
        threads.append(threading.Thread(target=push))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == [f"{ADDRESS}/{n}" for n in (1, 2, 3, 4)]
    assert list_object_versions(ADDRESS) == [1, 2, 3, 4]


def test_publisher_killed_before_the_manifest_leaves_no_version(bucket, model):
    script = (
        "import os, signal, sys\n"
        "from ordain.serving.registry.manifest import Manifest\n"
        "from ordain.serving.registry import object_store\n"
        "from google.cloud.storage import Blob\n"
        "real = Blob.upload_from_filename\n"
        "def upload(self, *a, **k):\n"
        "    if self.name.endswith('manifest.json'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(self, *a, **k)\n"
        "Blob.upload_from_filename = upload\n"
        "object_store.publish_objects(sys.argv[1], sys.argv[2], Manifest('toy', 0, ''))\n"
    )
    command = [sys.executable, "-c", script, str(model), ADDRESS]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9
    names = [blob.name for blob in bucket.list_blobs()]
    assert "serving/toy/1/saved_model.pb" in names
    assert list_object_versions(ADDRESS) == []
    # Its number is not used again: what it left lies there.
    assert publish_objects(model, ADDRESS, ABOUT) == f"{ADDRESS}/2"
    assert list_object_versions(ADDRESS) == [2]


def test_a_bucket_that_is_not_there_is_named(bucket, model):
    with pytest.raises(InfrastructureError, match=r"gs://none/serving.*404"):
        publish_objects(model, "gs://none/serving", ABOUT)
    with pytest.raises(InfrastructureError, match="names no bucket"):
        publish_objects(model, "gs://", ABOUT)


class TestBaseline:
    """The newest published version is what a new model is compared with."""

    @pytest.fixture
    def saved(self, tmp_path) -> Path:
        """A SavedModel that can be loaded."""
        import tensorflow as tf

        model = tf.Module()
        spec = tf.TensorSpec([None], tf.float32)
        model.twice = tf.function(lambda x: {"y": x + x}, input_signature=[spec])
        tf.saved_model.save(model, str(tmp_path / "saved"), {"serving_default": model.twice})
        return tmp_path / "saved"

    @pytest.mark.parametrize("rule", ["stable", "latest"])
    def test_is_the_newest_version_with_a_manifest(self, bucket, model, rule):
        assert check_served(ADDRESS, rule, None) is None
        publish_objects(model, ADDRESS, ABOUT)
        publish_objects(model, ADDRESS, ABOUT)
        bucket.blob("serving/toy/3/saved_model.pb").upload_from_string(b"half of a push")
        served = check_served(ADDRESS, rule, None)
        assert (served.name, served.address) == ("version 2 (newest published)", f"{ADDRESS}/2")
        assert check_served(ADDRESS, 1, None).name == "version 1 (pinned)"
        with pytest.raises(ConfigError, match="there is no version 3"):
            check_served(ADDRESS, 3, None)
        assert [is_preceded(ADDRESS, version) for version in (1, 2)] == [False, True]

    def test_is_loaded_from_a_checked_copy(self, bucket, saved):
        publish_objects(saved, ADDRESS, ABOUT)
        assert holds_files(find_served(ADDRESS, "stable"), saved)
        with private_copy(f"{ADDRESS}/1", None) as copy:
            assert (copy.name, verify(copy)) == ("1", [])

    @pytest.mark.parametrize(
        ("content", "words", "is_seen_before"),
        [
            (None, "saved_model.pb is missing", True),
            (b"grap", "saved_model.pb has 4 bytes, not 5", True),
            (b"grapH", "saved_model.pb was changed after", False),
        ],
    )
    def test_damaged_version_is_refused(self, bucket, model, content, words, is_seen_before):
        publish_objects(model, ADDRESS, ABOUT)
        blob = bucket.blob("serving/toy/1/saved_model.pb")
        blob.delete()
        if content is not None:
            blob.upload_from_string(content)
        if is_seen_before:
            with pytest.raises(InfrastructureError, match=f"{ADDRESS}/1: {words}"):
                check_served(ADDRESS, "stable", None)
        with (
            pytest.raises(InfrastructureError, match=words),
            private_copy(f"{ADDRESS}/1", None),
        ):
            pass

    def test_unsigned_version_is_refused_when_signing_is_on(self, bucket, saved, trust, reader):
        publish_objects(saved, ADDRESS, ABOUT)
        publish_objects(saved, ADDRESS, ABOUT, trust.key())
        with private_copy(f"{ADDRESS}/2", reader):
            pass
        with (
            pytest.raises(InfrastructureError, match="version 1 .* it is not signed"),
            private_copy(f"{ADDRESS}/1", reader),
        ):
            pass

    def test_a_bucket_that_is_not_there_is_refused(self, bucket):
        with pytest.raises(InfrastructureError, match="gs://no-such-bucket/toy/"):
            check_served("gs://no-such-bucket/toy", "stable", None)
