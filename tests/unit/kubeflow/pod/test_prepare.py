"""Refusals of `prepare` before it imports TFX."""

import dataclasses
import json
from pathlib import Path

import pytest

from ordain.config.loading import load_project
from ordain.errors import ConfigError
from ordain.kubeflow.pod.prepare import PrepareArguments, prepare
from ordain.project.source import image_fingerprint


@pytest.fixture
def arguments(make_folder):
    folder = make_folder()
    config = json.dumps(load_project(folder).effective)
    source = image_fingerprint(folder, folder / "schema.pbtxt")
    return PrepareArguments(
        str(folder), config, "", "", "", source=source, nodes="{}", span="", run_id="run-1"
    )


def refused(arguments, match, **changes):
    with pytest.raises(ConfigError, match=match) as caught:
        prepare(dataclasses.replace(arguments, **changes), print)
    return caught.value


def test_the_image_has_other_source(arguments):
    error = refused(arguments, "the compiled pipeline expects", source="0" * 64)
    assert "make image" in error.hint


@pytest.mark.parametrize("name", ["schema.pbtxt", "helper.py"])
def test_the_image_has_another_schema_or_source(arguments, name):
    Path(arguments.project, name).write_text("")
    refused(arguments, "the compiled pipeline expects")


def test_a_folder_that_the_image_does_not_have(arguments, tmp_path):
    config = json.loads(arguments.config)
    config["train"] = {"module": "/model.py"}
    refused(arguments, "no such folder in this image", project=str(tmp_path / "none"))


@pytest.mark.parametrize("root", ["s3://bucket", "minio://bucket/x"])
def test_a_pipeline_root_in_another_store(arguments, root):
    error = refused(
        arguments, f"pipeline_root {root}: must be a folder on a volume", pipeline_root=root
    )
    assert "volume" in error.hint


@pytest.mark.parametrize("root", ["gs://", "gs://b/../../etc", "gs://B/x", "gs://bucket/a b"])
def test_an_invalid_bucket_name(arguments, root):
    refused(arguments, "not a valid address", pipeline_root=root)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ([], "metadata .*metadata.sqlite: a SQLite file, and with pipeline_root gs://bucket/ml"),
        (["metadata=grpc://db:8080"], "metadata grpc://db:8080: with it pods are kept apart by"),
        (["metadata=postgresql://a@db/ml"], "push.directory: is not set, and with pipeline_root"),
    ],
)
def test_settings_that_pods_with_only_a_bucket_cannot_have(arguments, settings, match):
    refused(arguments, match, pipeline_root="gs://bucket/ml", settings=json.dumps(settings))


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
def test_settings_that_a_run_cannot_change(arguments, settings, match):
    refused(arguments, match, settings=settings)


def test_a_span_that_is_no_number(arguments):
    refused(arguments, "span 'newest': must be the number of a span", span="newest")


@pytest.mark.parametrize("config", ["no json", "[]"])
def test_an_invalid_configuration(arguments, config):
    refused(arguments, "--config", config=config)
