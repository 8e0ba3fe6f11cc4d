"""Pusher's executor: TFX's properties, and only blessed models."""

import json
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2
from tfx.components.evaluator import constants
from tfx.components.infra_validator import executor as infra_executor
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from ordain.components.artifacts.pushed_model import unrecorded
from ordain.components.artifacts.types import GateVerdict, keep_verdict
from ordain.components.pusher import provenance
from ordain.components.pusher.component import Executor
from ordain.components.server_gate.infra_validator import InfraExecutor
from ordain.errors import InfrastructureError
from ordain.serving.export.description import Signature, Tensor
from ordain.serving.registry.label_file import Labels, read_labels
from ordain.serving.registry.label_writing import write_labels
from ordain.serving.registry.manifest import Metric
from ordain.serving.registry.verification import read_manifest, verify
from ordain.verdict import Outcome, Reason, Verdict

SAVED_MODEL = text_format.Parse(
    """
    meta_graphs {
      meta_info_def { tags: "serve" tensorflow_version: "2.21.0" }
      graph_def {
        node { name: "examples" op: "Placeholder" }
        node { name: "outputs" op: "Identity" input: "examples" }
        node { name: "init" op: "NoOp" }
      }
      signature_def {
        key: "__saved_model_init_op"
        value { outputs { key: "__saved_model_init_op" value { name: "init" } } }
      }
      signature_def {
        key: "serving_default"
        value {
          inputs {
            key: "examples"
            value { name: "examples:0" dtype: DT_STRING tensor_shape { dim { size: -1 } } }
          }
          outputs {
            key: "outputs"
            value {
              name: "outputs:0"
              dtype: DT_FLOAT
              tensor_shape { dim { size: -1 } dim { size: 1 } }
            }
          }
          outputs {
            key: "any"
            value { name: "outputs:0" dtype: DT_INT64 tensor_shape { unknown_rank: true } }
          }
        }
      }
    }
    """,
    saved_model_pb2.SavedModel(),
)

MODEL_ID = 7


@pytest.fixture
def push(tmp_path):
    def run(is_blessed: bool | None, more: dict | None = None, **settings):
        model = standard_artifacts.Model()
        model.uri, model.id = str(tmp_path / "model"), MODEL_ID
        saved = tmp_path / "model" / "Format-Serving"
        saved.mkdir(parents=True, exist_ok=True)
        (saved / "saved_model.pb").write_bytes(SAVED_MODEL.SerializeToString())
        inputs = {"model": [model], **(more or {})}
        if is_blessed is not None:
            blessing = standard_artifacts.ModelBlessing()
            blessing.uri = str(tmp_path / "blessing")
            Path(blessing.uri).mkdir(exist_ok=True)
            name = constants.BLESSED_FILE_NAME if is_blessed else constants.NOT_BLESSED_FILE_NAME
            (tmp_path / "blessing" / name).touch()
            blessing.set_int_custom_property("blessed", int(is_blessed))
            blessing.set_int_custom_property("current_model_id", MODEL_ID)
            inputs = {"model_blessing": [blessing], **inputs}
        pushed = standard_artifacts.PushedModel()
        pushed.uri = str(tmp_path / "pushed")
        where = pusher_pb2.PushDestination.Filesystem(base_directory=str(tmp_path / "serving"))
        destination = proto_utils.proto_to_json(pusher_pb2.PushDestination(filesystem=where))
        properties = {"push_destination": destination, "custom_config": json.dumps(settings)}
        Executor().Do(inputs, {"pushed_model": [pushed]}, properties)
        return pushed

    return run


def test_blessed_model_is_published_with_tfx_properties(push, tmp_path):
    pushed = push(True)
    version = tmp_path / "serving" / "1"
    assert (version / "saved_model.pb").read_bytes() == SAVED_MODEL.SerializeToString()
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_version") == "1"
    assert pushed.get_string_custom_property("pushed_destination") == str(version)


@pytest.mark.parametrize(
    ("key", "kind", "told", "judged", "node"),
    [
        ("model_blessing", standard_artifacts.ModelBlessing, {"current_model_id": 8}, "8", "Eval"),
        ("model_blessing", standard_artifacts.ModelBlessing, {}, "", "Evaluator"),
        ("infra_blessing", standard_artifacts.InfraBlessing, {"judged": "8"}, "8", "ServerGate"),
        # As TFX's InfraValidator leaves it.
        ("infra_blessing", standard_artifacts.InfraBlessing, {}, "", "ServerGate"),
        ("evaluation", standard_artifacts.ModelEvaluation, {"judged": "8"}, "8", "Evaluator"),
        ("data_verdict", GateVerdict, {"judged": "3,4"}, "3,4", "DataGate"),
    ],
)
def test_verdicts_on_other_artifacts_are_refused(push, tmp_path, key, kind, told, judged, node):
    examples = [artifact(standard_artifacts.Examples, tmp_path / f"e{n}") for n in (3, 5)]
    for made, number in zip(examples, (3, 5), strict=True):
        made.id = number
    other = artifact(kind, tmp_path / "other")
    other.set_int_custom_property("blessed", 1)
    for name, value in told.items():
        set_it = other.set_string_custom_property
        (set_it if isinstance(value, str) else other.set_int_custom_property)(name, value)
    with pytest.raises(InfrastructureError) as error:
        push(True, {"examples": examples, key: [other]})
    subject, given = ("examples", "3,5") if key == "data_verdict" else ("model", "7")
    said = f"is on {subject} {judged}, " if judged else f"does not name a {subject}, "
    assert said in error.value.message
    assert f"but the {subject} to publish is {given} (ids in ML Metadata)" in error.value.message
    assert error.value.hint.startswith(f"ordain run PROJECT --from {node}")
    assert not (tmp_path / "serving").exists()


def test_a_blessing_of_vertex_ai_names_its_model_by_address(push, tmp_path):
    for uri, is_its in ((str(tmp_path / "model"), True), ("gs://other/model", False)):
        blessing = artifact(standard_artifacts.ModelBlessing, tmp_path / str(is_its), BLESSED="")
        blessing.set_int_custom_property("blessed", 1)
        blessing.set_string_custom_property("current_model", uri)
        blessing.set_json_value_custom_property("current_model_id", "projects/1/artifacts/2")
        if is_its:
            assert push(True, {"model_blessing": [blessing]}).get_int_custom_property("pushed")
        else:
            with pytest.raises(InfrastructureError, match="is on model gs://other/model, but"):
                push(True, {"model_blessing": [blessing]})


def test_tfx_infra_validator_records_its_model(monkeypatch, tmp_path):
    """Its server needs docker; the blessing is marked as TFX marks it."""

    def validate(self, input_dict, output_dict, exec_properties):
        infra_executor._mark_blessed(output_dict["blessing"][0])

    monkeypatch.setattr(infra_executor.Executor, "Do", validate)
    blessing = artifact(standard_artifacts.InfraBlessing, tmp_path / "infra")
    model = artifact(standard_artifacts.Model, tmp_path / "served")
    model.id = MODEL_ID
    InfraExecutor().Do({"model": [model]}, {"blessing": [blessing]}, {})
    assert blessing.get_string_custom_property("judged") == "7"
    assert blessing.get_int_custom_property("blessed") == 1


def test_a_model_that_is_not_blessed_is_not(push, tmp_path):
    pushed = push(False)
    assert not (tmp_path / "serving").exists()
    assert pushed.get_int_custom_property("pushed") == 0
    assert not pushed.has_custom_property("pushed_version")


def test_a_model_of_an_object_store_is_published_too(tmp_path):
    # TensorFlow's file system in memory: as with gs://, its addresses are no paths.
    model = standard_artifacts.Model()
    model.uri = "ram://model-of-a-bucket"
    fileio.makedirs(f"{model.uri}/Format-Serving/variables")
    for name, content in (
        ("saved_model.pb", SAVED_MODEL.SerializeToString()),
        ("variables/variables.data-00000-of-00001", b"data"),
    ):
        with fileio.open(f"{model.uri}/Format-Serving/{name}", "wb") as file:
            file.write(content)
    blessing = standard_artifacts.ModelBlessing()
    blessing.set_int_custom_property("blessed", 1)
    blessing.set_int_custom_property("current_model_id", model.id)
    blessing.uri = str(tmp_path / "blessing")
    (tmp_path / "blessing").mkdir()
    (tmp_path / "blessing" / constants.BLESSED_FILE_NAME).touch()
    pushed = standard_artifacts.PushedModel()
    where = pusher_pb2.PushDestination.Filesystem(base_directory=str(tmp_path / "serving"))
    destination = proto_utils.proto_to_json(pusher_pb2.PushDestination(filesystem=where))
    Executor().Do(
        {"model": [model], "model_blessing": [blessing]},
        {"pushed_model": [pushed]},
        {"push_destination": destination, "custom_config": "{}"},
    )
    version = tmp_path / "serving" / "1"
    assert (version / "saved_model.pb").read_bytes() == SAVED_MODEL.SerializeToString()
    assert (version / "variables" / "variables.data-00000-of-00001").read_bytes() == b"data"
    assert verify(version) == []


class TestAKilledPublishersVersion:
    """A version in the serving directory that ML Metadata has no record of."""

    def versions(self, tmp_path):
        return sorted(p.name for p in (tmp_path / "serving").iterdir() if p.name.isdecimal())

    def test_is_taken_as_it_is_if_it_holds_this_model(self, push, tmp_path):
        push(True)
        with unrecorded(1):
            pushed = push(True)
        assert self.versions(tmp_path) == ["1"]
        assert pushed.get_string_custom_property("pushed_version") == "1"
        assert pushed.get_int_custom_property("stable") == 1
        assert pushed.get_string_custom_property("stable_reason") == "it is the first"
        assert len(read_labels(tmp_path / "serving").changes) == 1

    def test_gets_the_label_that_it_was_killed_before(self, push, tmp_path):
        push(True)
        write_labels(tmp_path / "serving", Labels(), None)  # as before the first push
        with unrecorded(1):
            pushed = push(True)
        assert self.versions(tmp_path) == ["1"]
        assert pushed.get_int_custom_property("stable") == 1
        assert read_labels(tmp_path / "serving").stable == 1

    def test_is_left_where_it_holds_another_model(self, push, tmp_path):
        push(True)
        assert verify(tmp_path / "serving" / "1") == []
        with unrecorded(1):
            push(True, source_fingerprint="another")
        assert self.versions(tmp_path) == ["1", "2"]

    def test_is_left_where_it_does_not_verify(self, push, tmp_path):
        push(True)
        (tmp_path / "serving" / "1" / "saved_model.pb").write_bytes(b"damaged")
        with unrecorded(1):
            push(True)
        assert self.versions(tmp_path) == ["1", "2"]

    def test_a_second_push_is_one_where_nobody_was_killed(self, push, tmp_path):
        push(True)
        push(True)
        assert self.versions(tmp_path) == ["1", "2"]


def test_push_and_label_change_are_recorded(push, tmp_path):
    first = push(True)
    assert first.get_int_custom_property("stable") == 1
    assert first.get_string_custom_property("stable_reason") == "it is the first"
    second = push(True, promote="manual")
    assert second.get_int_custom_property("stable") == 0
    assert "push.promote is manual" in second.get_string_custom_property("stable_reason")
    assert read_labels(tmp_path / "serving").stable == 1


def artifact(kind, folder: Path, **files: str):
    folder.mkdir(parents=True)
    made = kind()
    made.uri = str(folder)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return made


def test_manifest_describes_the_inputs(push, tmp_path):
    examples = [artifact(standard_artifacts.Examples, tmp_path / f"e{n}") for n in (7, 5)]
    for made, span in zip(examples, (7, 5), strict=True):
        made.span = made.id = span
    gate = artifact(GateVerdict, tmp_path / "gate")
    verdict = Verdict.of("data", [Reason(Outcome.WARNED, "drift", "drifted")])
    keep_verdict(verdict, gate, examples)
    evaluation = artifact(standard_artifacts.ModelEvaluation, tmp_path / "evaluation")
    model = standard_artifacts.Model()
    model.id = MODEL_ID
    keep_verdict(Verdict.of("evaluation", []), evaluation, [model])
    schema = artifact(standard_artifacts.Schema, tmp_path / "schema", schema__pbtxt="x")
    inputs = {
        "examples": examples,
        "schema": [schema],
        "data_verdict": [gate],
        "evaluation": [evaluation],
    }
    push(True, inputs, project="toy", source_fingerprint="f" * 64)
    version = tmp_path / "serving" / "1"
    manifest = read_manifest(version)
    assert verify(version) == []
    assert manifest.project == "toy" and manifest.spans == (5, 7)
    assert [(v.gate, v.outcome) for v in manifest.verdicts] == [
        ("data", Outcome.WARNED),
        ("evaluation", Outcome.PASSED),
    ]
    # echo -n x | sha256sum
    assert manifest.schema_fingerprint.startswith("2d711642b726b044")
    assert manifest.source_fingerprint == "f" * 64
    assert manifest.tensorflow == "2.21.0"
    assert manifest.signatures == {
        "serving_default": Signature(
            {"examples": Tensor("string", (None,))},
            {"outputs": Tensor("float32", (None, 1)), "any": Tensor("int64", None)},
        )
    }
    card = (version / "MODEL_CARD.md").read_text()
    assert "# toy, version 1" in card and "5, 7" in card and "drifted" in card


def test_metrics_have_baselines_and_reasons():
    entries = [
        {"slice": "origin=EWR", "name": "auc", "value": 0.75, "baseline": 0.5},
        {"slice": "", "name": "auc", "undefined": "26 rows, no positive"},
        {"slice": "", "name": "only_of_the_baseline", "baseline": 0.5},
    ]
    assert provenance.metrics_of({"metrics": entries}) == (
        Metric("auc", None, "", None, "26 rows, no positive"),
        Metric("auc", 0.75, "origin=EWR", 0.5),
    )


def test_folder_without_a_saved_model_is_refused(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff not a model")
    with pytest.raises(InfrastructureError, match="cannot be read as a SavedModel"):
        provenance.describe({}, str(tmp_path), "toy", "", "")


def test_a_model_that_reads_files_is_not_published(push, tmp_path, monkeypatch):
    dangerous = saved_model_pb2.SavedModel()
    dangerous.CopyFrom(SAVED_MODEL)
    dangerous.meta_graphs[0].graph_def.node.add(name="steal", op="ReadFile")
    monkeypatch.setitem(globals(), "SAVED_MODEL", dangerous)
    with pytest.raises(InfrastructureError, match="ReadFile"):
        push(True)
    left = {path.name for path in (tmp_path / "serving").iterdir() if path.is_dir()}
    assert left <= {"tensorflow_serving"} and read_labels(tmp_path / "serving").stable is None
