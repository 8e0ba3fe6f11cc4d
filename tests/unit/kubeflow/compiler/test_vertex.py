"""`--target vertex`: what Vertex AI cannot run is named, and what it can run compiles."""

import json

import pytest
from click.testing import CliRunner

from ordain.cli.main import cli
from ordain.config.loading import load_unresolved
from ordain.errors import ConfigError
from ordain.kubeflow.compiler.vertex import compile_project, obstacles

FITS = {
    "data__path": "/gcs/bucket/data",
    "data__pattern": "*.csv",
    "evaluate__baseline": {"none": "Vertex has no such resolver"},
    "gate__server": {"none": "Vertex has no local folder"},
    "push__directory": "gs://bucket/served",
    "kubeflow": {
        "image": "registry.example.org/toy:1",
        "pipeline_root": "gs://bucket/runs",
        "nodes": {"Trainer": {"image": "registry.example.org/toy-gpu:1"}},
    },
}
#: Modules that do not exist: refusing the nodes does not import them.
OWN = [
    {"after": "StatisticsGen", "component": "no_such_module:CountSpans"},
    {"after": "CountSpans", "component": "no_such_module:Other", "id": "Late"},
]


def named(folder):
    return {who for who, _ in obstacles(load_unresolved(folder))}


class TestRefused:
    def test_a_pipeline_of_spans_and_resolvers_node_by_node(self, make_folder):
        folder = make_folder(
            data__window=3, train__base_model="served", kubeflow={"image": "toy:1"}
        )
        with pytest.raises(ConfigError) as caught:
            compile_project(folder)
        lines = caught.value.message.splitlines()
        assert lines[0] == "Vertex AI cannot run this project:"
        assert {line.partition(":")[0] for line in lines[1:]} == {
            *("ExampleGen", "StatisticsGen", "ExampleValidator", "BaseModel", "Baseline"),
            *("ServerGate", "Pusher", "kubeflow.pipeline_root"),
        }

    def test_nothing_of_a_project_that_fits(self, make_folder):
        assert named(make_folder(**FITS)) == set()

    @pytest.mark.parametrize(
        ("keys", "who"),
        [
            (
                {"data__pattern": "{SPAN}/*.csv"},
                {"ExampleGen", "StatisticsGen", "ExampleValidator"},
            ),
            ({"data__window": 2}, {"ExampleGen", "StatisticsGen", "ExampleValidator"}),
            ({"data__path": "data"}, {"ExampleGen"}),
            ({"train__base_model": "served"}, {"BaseModel"}),
            ({"evaluate__baseline": "latest"}, {"Baseline"}),
            ({"gate__server": {}}, {"ServerGate"}),
            ({"gate__server": {"runner": "kubernetes"}}, {"ServerGate"}),
            ({"push__directory": None}, {"Pusher"}),
            ({"push__signing": {"public_key": "a.pem"}}, {"Pusher"}),
            ({"kubeflow": {"image": "toy:1"}}, {"kubeflow.pipeline_root"}),
            ({"kubeflow": {"pipeline_root": "gs://bucket/x"}}, {"kubeflow.image"}),
            ({"nodes": OWN}, {"nodes.CountSpans", "nodes.Late"}),
            (
                {"nodes": OWN, "data__path": "data"},
                {"nodes.CountSpans", "nodes.Late", "ExampleGen"},
            ),
        ],
    )
    def test_each_for_its_own_reason(self, make_folder, keys, who):
        assert named(make_folder(**{**FITS, **keys})) == who

    def test_the_command_refuses_own_nodes_by_name_and_writes_nothing(self, make_folder, tmp_path):
        path = tmp_path / "job.json"
        folder = make_folder(**FITS, nodes=OWN)
        words = ["compile", str(folder), "--target", "vertex", "-o", str(path)]
        done = CliRunner().invoke(cli, words)
        assert isinstance(done.exception, ConfigError)
        assert done.exception.message.splitlines() == [
            "Vertex AI cannot run this project:",
            *(
                f"nodes.{name}: TFX's runner for Vertex does not pass a component its place and "
                "source (leave out nodes)"
                for name in ("CountSpans", "Late")
            ),
        ]
        assert done.exception.hint == "see docs/kubeflow-compile.md#vertex-ai"
        assert not path.exists()

    def test_references_that_no_container_could_look_up(self, make_folder, monkeypatch):
        monkeypatch.setenv("TEST_KEY", "hush-hush")
        folder = make_folder(**FITS, train__parameters={"key": "${env:TEST_KEY}"})
        with pytest.raises(ConfigError) as caught:
            compile_project(folder)
        assert "train.parameters.key: holds ${env:TEST_KEY}" in caught.value.message
        assert "hush-hush" not in caught.value.message


class TestCompiled:
    @pytest.fixture(scope="class")
    @staticmethod
    def compiled(write_project, tmp_path_factory):
        folder = tmp_path_factory.mktemp("vertex") / "toy"
        write_project(folder, **FITS, notify=[{"on": ["failed"], "webhook": "${env:NOBODY}"}])
        return folder, compile_project(folder)

    @pytest.mark.framework
    def test_the_whole_pipeline_but_the_cache_is_there(self, compiled):
        _, made = compiled
        spec = json.loads(made.text)["pipelineSpec"]
        assert set(spec["root"]["dag"]["tasks"]) == {
            *("ExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "DataGate"),
            *("Transform", "Trainer", "Evaluator", "Pusher"),
        }
        assert made.tasks == 9
        assert any("AnalyzerCache is left out" in note for note in made.notes)
        unused = "not used on Vertex: kubeflow.nodes but for images, notify"
        assert any(unused in note for note in made.notes)

    @pytest.mark.framework
    def test_what_stands_behind_the_data_gate_hangs_on_its_verdict(self, compiled):
        tasks = json.loads(compiled[1].text)["pipelineSpec"]["root"]["dag"]["tasks"]
        for name in ("Transform", "Trainer", "Evaluator", "Pusher"):
            condition = tasks[name]["triggerPolicy"]["condition"]
            for outcome in ("passed", "warned"):
                assert f"metadata['outcome'] == '{outcome}'" in condition
        assert "triggerPolicy" not in tasks["DataGate"]

    @pytest.mark.framework
    def test_images_and_root_are_the_projects(self, compiled):
        job = json.loads(compiled[1].text)
        executors = job["pipelineSpec"]["deploymentSpec"]["executors"]
        images = {name: one["container"]["image"] for name, one in executors.items()}
        assert images.pop("Trainer_executor") == "registry.example.org/toy-gpu:1"
        assert set(images.values()) == {"registry.example.org/toy:1"}
        assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/runs"

    @pytest.mark.framework
    def test_paths_are_those_of_the_image_and_none_of_this_machine(self, compiled):
        folder, made = compiled
        assert str(folder.parent) not in made.text
        assert '"/project/model.py"' in made.text

    def test_executors_and_types_are_such_as_a_container_can_import(self, compiled):
        from tfx.utils import import_utils

        import ordain
        from ordain.components.artifacts.types import GateVerdict

        spec = json.loads(compiled[1].text)["pipelineSpec"]
        for executor in spec["deploymentSpec"]["executors"].values():
            arguments = executor["container"]["args"]
            path = arguments[arguments.index("--executor_class_path") + 1]
            assert callable(import_utils.import_class_by_path(path).Do)
        assert "title: ordain.GateVerdict" in json.dumps(spec)
        assert import_utils.import_class_by_path("ordain.GateVerdict") is GateVerdict
        assert GateVerdict.TYPE_NAME == "GateVerdict"
        with pytest.raises(AttributeError, match="'NoSuchType'"):
            _ = ordain.NoSuchType

    @pytest.mark.framework
    def test_the_same_project_gives_the_same_bytes(self, compiled):
        folder, made = compiled
        assert compile_project(folder).text == made.text

    @pytest.mark.framework
    def test_the_command_writes_it(self, compiled, tmp_path):
        folder, made = compiled
        path = tmp_path / "job.json"
        arguments = ["compile", str(folder), "--target", "vertex", "-o", str(path)]
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output
        assert path.read_text() == made.text
        assert "note: AnalyzerCache is left out" in done.output
