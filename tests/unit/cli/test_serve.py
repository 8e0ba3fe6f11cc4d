"""`ordain serve` and `ordain predict`, as far as they go without TensorFlow."""

import sys

import pytest
import yaml
from click.testing import CliRunner

from ordain.cli.main import cli
from ordain.errors import ConfigError


def call(*arguments):
    done = CliRunner().invoke(cli, [str(a) for a in arguments])
    if isinstance(done.exception, ConfigError):
        raise done.exception
    return done


@pytest.mark.parametrize(
    ("kind", "kinds"),
    [
        ("docker", [None]),
        ("kubernetes", ["Deployment", "Service"]),
        ("kserve", ["InferenceService"]),
    ],
)
def test_emit_prints_documents_and_starts_nothing(make_folder, kind, kinds):
    done = call("serve", make_folder(), "--emit", kind, "--claim", "disk")
    assert done.exit_code == 0
    documents = list(yaml.safe_load_all(done.stdout))
    assert [document.get("kind") for document in documents] == kinds
    assert kind == "docker" or "disk" in done.stdout


def test_a_bucket_is_not_served_from_here(make_folder):
    folder = make_folder(push__directory="gs://bucket/models")
    with pytest.raises(ConfigError, match="read from local"):
        call("serve", folder)
    (folder / "rows.json").write_text("[]")
    with pytest.raises(ConfigError, match="read from local"):
        call("predict", folder, "--input", folder / "rows.json")


def test_no_secret_of_training_is_asked_for(make_folder):
    missing = "${env:ORDAIN_TEST_NOWHERE}"
    folder = make_folder(
        metadata=f"postgresql://toy:{missing}@db:5432/toy",
        notify=[{"on": ["failed"], "webhook": missing}],
        train={"steps": missing, "parameters": {"key": missing}},
        beam_args=[f"--key={missing}"],
        push__signing={"public_key": "a.pub", "private_key": missing, "password": missing},
    )
    assert call("serve", folder, "--emit", "docker").exit_code == 0
    (folder / "rows.json").write_text("[]")
    # It gets as far as the versions, of which there are none.
    with pytest.raises(ConfigError, match="no version has the label stable"):
        call("predict", folder, "--input", folder / "rows.json")


def test_wrong_settings_are_said_before_anything_is_loaded(make_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ordain.serving.server.app", None)
    folder = make_folder()
    with pytest.raises(ConfigError, match="--host 0.0.0.0 can be reached"):
        call("serve", folder, "--host", "0.0.0.0")
    with pytest.raises(ConfigError, match="--token-file"):
        call("serve", folder, "--token-file", folder / "none")
    assert call("serve", folder, "--rest-port", "99999").exit_code == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--label", "stable", "--version", "1"), "cannot be given together"),
        (("--token-file", "t"), "need --url"),
        (("--url", "http://127.0.0.1:1", "--beam"), "--beam and --url cannot"),
    ],
)
def test_predict_options_that_do_not_go_together(make_folder, options, words):
    folder = make_folder()
    with pytest.raises(ConfigError, match="is not a file"):
        call("predict", folder, "--input", folder / "none.json")
    (folder / "rows.json").write_text("[]")
    with pytest.raises(ConfigError, match=words):
        call("predict", folder, "--input", folder / "rows.json", *options)
