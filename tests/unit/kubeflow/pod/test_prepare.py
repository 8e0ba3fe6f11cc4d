"""What `prepare` refuses before it imports TFX."""

import dataclasses
import json
from pathlib import Path

import pytest

from ordain.config.loading import load_project
from ordain.errors import ConfigError
from ordain.kubeflow.pod.prepare import PrepareArguments, prepare
from ordain.project.source import image_fingerprint


@pytest.fixture
def asked(make_folder):
    folder = make_folder()
    config = json.dumps(load_project(folder).effective)
    source = image_fingerprint(folder, folder / "schema.pbtxt")
    return PrepareArguments(str(folder), config, "", source, "{}", "", "", "", "run-1")


def refused(asked, match, **changes):
    with pytest.raises(ConfigError, match=match) as caught:
        prepare(dataclasses.replace(asked, **changes), print)
    return caught.value


def test_another_version_of_the_project_in_the_image(asked):
    error = refused(asked, "the compiled pipeline expects", source="0" * 64)
    assert "make image" in error.hint


@pytest.mark.parametrize("name", ["schema.pbtxt", "helper.py"])
def test_an_image_whose_schema_or_source_is_another_one(asked, name):
    Path(asked.project, name).write_text("")
    refused(asked, "the compiled pipeline expects")


def test_a_folder_that_the_image_does_not_have(asked, tmp_path):
    config = json.loads(asked.config)
    config["train"] = {"module": "/model.py"}
    refused(asked, "no such folder in this image", project=str(tmp_path / "none"))


@pytest.mark.parametrize("root", ["s3://bucket", "minio://bucket/x"])
def test_a_pipeline_root_in_another_store_by_its_name(asked, root):
    error = refused(
        asked, f"pipeline_root {root}: must be a folder on a volume", pipeline_root=root
    )
    assert "volume" in error.hint


@pytest.mark.parametrize("root", ["gs://", "gs://b/../../etc", "gs://B/x", "gs://bucket/a b"])
def test_a_bucket_that_none_can_be_called(asked, root):
    refused(asked, "not a valid address", pipeline_root=root)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ([], "metadata .*metadata.sqlite: a SQLite file, and with pipeline_root gs://bucket/ml"),
        (["metadata=grpc://db:8080"], "metadata grpc://db:8080: with it pods are kept apart by"),
        (["metadata=postgresql://a@db/ml"], "push.directory: is not set, and with pipeline_root"),
    ],
)
def test_what_pods_with_a_bucket_alone_cannot_have(asked, settings, match):
    refused(asked, match, pipeline_root="gs://bucket/ml", settings=json.dumps(settings))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ("no json", "not JSON"),
        ('{"a": 1}', "must be a JSON list of strings"),
        ("[1]", "must be a JSON list of strings"),
        ('["name=other"]', "name cannot be set for a run: it is the pipeline's name"),
        ('["kubeflow.image=x"]', "kubeflow cannot be set for a run"),
        ('["workspace=/x"]', "use the parameter pipeline_root"),
        ('["train.stepz=1"]', "unknown key 'train.stepz'; did you mean 'steps'"),
    ],
)
def test_settings_that_no_run_can_have(asked, settings, match):
    refused(asked, match, settings=settings)


def test_a_span_that_is_no_number(asked):
    refused(asked, "span 'newest': must be the number of a span", span="newest")


@pytest.mark.parametrize("config", ["no json", "[]"])
def test_a_configuration_that_is_none(asked, config):
    refused(asked, "--config", config=config)
