"""`push` in the configuration: where versions go, and the keys they are signed with."""

import pytest

from ordain.config.loading import load_project
from ordain.errors import ConfigError
from ordain.runner.preflight import make_plan

SECRET = "correct horse"


def test_by_default_the_workspace_holds_them_and_a_push_promotes(make_project):
    project = make_project()
    assert project.serving == project.workspace / "serving" / "toy"
    assert project.push_base == str(project.serving)
    assert project.push.promote == "auto"
    assert project.push.public_key is None
    assert project.push.settings == {"promote": "auto", "signing": None}


def test_a_folder_of_ones_own_is_relative_to_the_project(make_project):
    project = make_project(push__directory="../models")
    assert project.serving == project.folder.parent / "models" / "toy"
    assert project.push_base == str(project.serving)


def test_an_object_store_is_an_address(make_project):
    project = make_project(push__directory="gs://bucket/models/")
    assert project.is_pushed_away
    assert project.push_base == "gs://bucket/models/toy"
    assert project.serving == project.workspace / "serving" / "toy"


def test_another_address_is_refused(make_project):
    with pytest.raises(ConfigError, match=r"push\.directory: must be a path, or an address gs://"):
        make_project(push__directory="s3://bucket/models")


class TestSigning:
    def test_keys_are_relative_to_the_project(self, make_project):
        project = make_project(push__signing={"public_key": "a.pub", "private_key": "~/a.pem"})
        signing = project.push.signing
        assert signing.public_key == project.push.public_key == project.folder / "a.pub"
        assert signing.private_key.is_absolute() and "~" not in str(signing.private_key)

    def test_a_pass_phrase_stays_a_reference_and_need_not_be_set(self, make_project, monkeypatch):
        monkeypatch.delenv("PHRASE", raising=False)
        keys = {"public_key": "a.pub", "password": "${env:PHRASE}"}
        project = make_project(push__signing=keys)
        assert project.push.settings["signing"]["password"] == "${env:PHRASE}"

    def test_a_pass_phrase_in_clear_is_refused_and_not_repeated(self, make_folder):
        folder = make_folder(push__signing={"public_key": "a.pub", "password": SECRET})
        with pytest.raises(ConfigError, match=r"push\.signing\.password.*\$\{env:NAME\}") as caught:
            load_project(folder)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize("missing", ["public_key", "private_key", None])
    def test_a_run_needs_both_keys_and_the_pass_phrase(self, make_project, monkeypatch, missing):
        monkeypatch.delenv("PHRASE", raising=False)
        keys = {"public_key": "a.pub", "private_key": "a.pem", "password": "${env:PHRASE}"}
        project = make_project(push__signing=keys)
        for key, name in (("public_key", "a.pub"), ("private_key", "a.pem")):
            if key != missing:
                (project.folder / name).write_text("a key")
        with pytest.raises(ConfigError, match=missing or "PHRASE is not set"):
            make_plan(project)
        if missing is None:
            monkeypatch.setenv("PHRASE", SECRET)
            make_plan(project)
