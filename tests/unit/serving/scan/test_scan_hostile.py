"""Hostile SavedModels, each refused for what is wrong with it, before anything of it is loaded."""

from pathlib import Path

import pytest
import tensorflow as tf
from hostile_models import HOSTILE, build_bases, write_hostile

from ordain.serving.scan.scan import scan


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bases")
    build_bases(folder)
    return folder


@pytest.mark.parametrize("name", ["tables", "tf1"])
def test_what_they_were_made_of_is_fine(bases, name):
    assert scan(bases / name) == []


@pytest.mark.parametrize("name", HOSTILE)
def test_is_refused_for_its_reason(bases, tmp_path, name):
    expected = HOSTILE[name]
    problems = scan(write_hostile(name, bases, tmp_path / "m"))
    assert any(
        p.op.startswith(expected.op) and expected.where in p.where and expected.why in p.why
        for p in problems
    ), [str(problem) for problem in problems]


def test_a_loader_gives_each_model_names_of_its_own(bases):
    """Else two models would share what their operations name alike; the scan relies on it."""

    def names(folder: str) -> set[bytes]:
        loaded = tf.saved_model.load(str(bases / folder))
        graphs = [loaded.graph] if folder == "tf1" else []
        for table in (loaded.counts,) if folder == "tables" else ():
            graphs += [f.graph for f in table._create_resource.concrete_functions]
        nodes = [node for graph in graphs for node in graph.as_graph_def().node]
        return {node.attr["shared_name"].s for node in nodes if "shared_name" in node.attr}

    for folder in ("tf1", "tables"):
        first, second = names(folder), names(folder)
        assert first and b"" not in first | second
        assert not first & second


class TestAttacks:
    """Effects of some of them when loaded: they are not just broken files."""

    @pytest.fixture
    def load(self, bases, tmp_path):
        def run(name: str):
            assert scan(write_hostile(name, bases, tmp_path / "m"))
            for file in bases.glob("written*"):
                file.unlink()
            return tf.saved_model.load(str(tmp_path / "m"), tags=["serve"])

        return run

    @pytest.mark.parametrize(
        "name",
        [
            "resource_that_writes_when_it_is_initialized",
            "restore_that_writes_in_a_model_without_objects",
        ],
    )
    def test_writes_a_file_when_it_is_loaded(self, bases, load, name):
        load(name)
        assert list(bases.glob("written*"))

    def test_the_request_chooses_which_file_is_read(self, bases, load):
        model = load("signature_object_that_reads_the_file_of_the_request")
        secret = tf.constant(str(bases / "secret.txt"))
        assert model.signatures["serving_default"](x=secret)["y"].numpy() == [b"the secret"]

    def test_the_request_chooses_which_file_is_written(self, bases, load):
        model = load("signature_object_that_writes_the_file_of_the_request")
        model.signatures["serving_default"](x=tf.constant([str(bases / "written_by_request")]))
        assert list(bases.glob("written_by_request*"))

    def test_a_prediction_holds_a_secret(self, load):
        model = load("request_that_reads_a_constant_posing_as_an_asset")
        answer = model.signatures["serving_default"](x=tf.constant(["any"]))
        assert answer["y"].numpy() == [b"the secret"]

    def test_a_request_that_saves(self, bases, load, monkeypatch):
        monkeypatch.chdir(bases)
        load("request_that_saves").signatures["serving_default"](x=tf.constant([0], tf.int64))
        # The file name that TensorFlow 1 writes into every graph.
        assert list(bases.glob("model_temp/*"))
