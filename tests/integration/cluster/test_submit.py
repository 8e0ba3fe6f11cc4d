"""`ordain submit` against a server on loopback: what is sent, once, and what is told."""

import hashlib
import json

import pytest
import yaml
from kubeflow_api import KubeflowApi, serving
from kubeflow_store import Store

from ordain.errors import ConfigError
from ordain.kubeflow.compiler.compiler import compile_project
from ordain.kubeflow.validation.validate import check


def submit(ordain, api, folder, *words):
    return ordain("submit", folder, "--host", api.url, "--poll", 0.1, *words)


class TestWhatIsSent:
    def test_pipeline_version_and_run(self, api, project, told):
        folder = project(service_account="ordain")
        sent = told("submit", folder, "--host", api.url, "--span", 201306, "--run-name", "first")
        (pipeline,) = api.sent("POST", "/pipelines")
        assert pipeline.body == {"name": "toy", "display_name": "toy"}
        text = api.store.files[sent["version_id"]]
        digest = hashlib.sha256(text.encode()).hexdigest()
        (upload,) = api.sent("POST", "/upload_version")
        assert upload.query == {
            "name": f"toy-{digest[:12]}",
            "pipelineid": sent["pipeline_id"],
            "description": f"sha256:{digest}",
        }
        (run,) = api.sent("POST", "/runs")
        experiment = next(iter(api.store.experiments))
        assert run.body == {
            "display_name": "first",
            "experiment_id": experiment,
            "pipeline_version_reference": {
                "pipeline_id": sent["pipeline_id"],
                "pipeline_version_id": sent["version_id"],
            },
            "runtime_config": {"parameters": {"span": "201306"}},
            "service_account": "ordain",
        }
        assert sent["uploaded"] is True
        assert sent["run_id"] in api.store.runs

    def test_the_file_that_arrives_is_a_good_one(self, api, project, told):
        sent = told("submit", project(), "--host", api.url)
        text = api.store.files[sent["version_id"]]
        check(text)
        assert next(yaml.safe_load_all(text))["pipelineInfo"]["name"] == "toy"

    def test_the_same_file_is_uploaded_once(self, api, project, told, ordain):
        folder = project()
        first = told("submit", folder, "--host", api.url)
        second = told("submit", folder, "--host", api.url, "--set", "train.steps=7")
        assert len(api.sent("POST", "/upload_version")) == 1
        assert second["version_id"] == first["version_id"]
        assert second["uploaded"] is False
        assert second["run_id"] != first["run_id"]
        assert "not uploaded again" in submit(ordain, api, folder).output

    def test_another_file_is_another_version(self, api, project, told):
        first = told("submit", project(), "--host", api.url)
        second = told("submit", project(labels={"team": "ml"}), "--host", api.url)
        assert second["pipeline_id"] == first["pipeline_id"]
        assert second["version"] != first["version"]
        assert len(api.store.versions) == 2

    def test_where_it_is_sent_is_not_in_the_file(self, api, project, told, monkeypatch):
        monkeypatch.setenv("KFP_TOKEN", "s3cret-token")
        first = told("submit", project(), "--host", api.url)
        moved = project(host=api.url, namespace="team", auth={"token_env": "KFP_TOKEN"})
        second = told("submit", moved)
        assert (second["version"], second["uploaded"]) == (first["version"], False)

    def test_settings_are_a_parameter(self, api, project, told):
        words = ("--set", "train.steps=500", "--set", "train.parameters.a=$$ $(HOME) {{$}}")
        sent = told("submit", project(), "--host", api.url, *words, "--pipeline-root", "/other")
        (run,) = api.sent("POST", "/runs")
        parameters = run.body["runtime_config"]["parameters"]
        assert json.loads(parameters["settings"]) == [words[1], words[3]]
        # The backend hands it to the pod as an argument, which Kubernetes and the launcher expand.
        assert not {"$$", "$(", "{{"} & {parameters["settings"][i : i + 2] for i in range(99)}
        assert parameters["pipeline_root"] == "/other"
        assert sent["parameters"] == parameters

    def test_a_race_for_the_upload_is_no_failure(self, api, project, told, monkeypatch):
        folder = project()
        first = told("submit", folder, "--host", api.url)
        # The listing of the loser of the race was asked for before the winner's upload.
        real = api.store.list_versions
        hidden = [True]

        def late(query, pipeline_id):
            answer = real(query, pipeline_id)
            if hidden and hidden.pop():
                answer.pipeline_versions = None
            return answer

        monkeypatch.setattr(api.store, "list_versions", late)
        second = told("submit", folder, "--host", api.url)
        assert second["version_id"] == first["version_id"]

    def test_a_compiled_file(self, api, project, told, tmp_path):
        folder = project()
        first = told("submit", folder, "--host", api.url)
        path = _written(api, first, tmp_path)
        assert told("submit", folder, "--host", api.url, "--file", path)["uploaded"] is False


class TestExperiments:
    def test_an_unknown_one_names_the_nearest(self, api, project, ordain):
        api.store.add_experiment("nightly")
        with pytest.raises(ConfigError) as caught:
            submit(ordain, api, project(), "--experiment", "nigthly")
        assert "did you mean 'nightly'?" in caught.value.message
        assert caught.value.hint == "--experiment nightly, or --create-experiment"
        assert not api.sent("POST", "/experiments")
        assert not api.sent("POST", "/upload_version")

    def test_it_is_created_when_asked(self, api, project, told):
        words = ("--experiment", "nightly", "--create-experiment")
        sent = told("submit", project(), "--host", api.url, *words)
        assert api.store.experiments[sent["experiment_id"]].display_name == "nightly"
        again = told("submit", project(), "--host", api.url, *words)
        assert again["experiment_id"] == sent["experiment_id"]

    def test_the_one_of_the_configuration(self, api, project, told):
        made = api.store.add_experiment("mine")
        sent = told("submit", project(experiment="mine"), "--host", api.url)
        assert sent["experiment_id"] == made.experiment_id

    def test_it_belongs_to_a_namespace(self, project, told):
        store = Store(is_multi_user=True, namespaces=("team", "other"))
        store.add_experiment("Default", "other")
        mine = store.add_experiment("Default", "team")
        with serving(KubeflowApi(store)) as api:
            sent = told("submit", project(), "--host", api.url, "--namespace", "team")
            assert sent["experiment_id"] == mine.experiment_id
            (pipeline,) = api.sent("POST", "/pipelines")
            assert pipeline.body["namespace"] == "team"
            runs = told("cluster", "runs", "--host", api.url, "--namespace", "team")
            assert [run["run_id"] for run in runs] == [sent["run_id"]]
            assert told("cluster", "runs", "--host", api.url, "--namespace", "other") == []


class TestRefused:
    def test_another_projects_file(self, api, project, ordain, tmp_path):
        path = tmp_path / "other.yaml"
        path.write_text(compile_project(project()).text.replace("name: toy", "name: flights"))
        with pytest.raises(ConfigError, match="contains pipeline 'flights'; the project is 'toy'"):
            submit(ordain, api, project(), "--file", path)
        assert api.requests == []

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("a: [", "must be YAML"),
            ("a: 1", "must be a PipelineSpec"),
            ("", "0 documents"),
            ("x" * 1_000_001, "1000001 bytes; the backend accepts at most 1000000"),
        ],
    )
    def test_what_is_no_file(self, api, project, ordain, tmp_path, text, says):
        path = tmp_path / "file.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=says):
            submit(ordain, api, project(), "--file", path)

    def test_a_file_that_breaks_a_rule_is_not_sent(self, api, project, told, ordain, tmp_path):
        first = told("submit", project(), "--host", api.url)
        path = _written(api, first, tmp_path)
        path.write_text(path.read_text().replace("schemaVersion: 2.1.0", "schemaVersion: 2.0.0"))
        with pytest.raises(ConfigError, match="2.0.0"):
            submit(ordain, api, project(), "--file", path)
        assert len(api.sent("POST", "/upload_version")) == 1

    def test_settings_of_pods_and_server(self, api, project, ordain):
        with pytest.raises(ConfigError, match="kubeflow cannot be changed per run"):
            submit(ordain, api, project(), "--set", "kubeflow.service_account=root")
        assert api.requests == []

    def test_settings_that_change_the_nodes(self, api, project, ordain):
        words = ("--set", "gate.server.none=no server here")
        with pytest.raises(ConfigError, match=r"changes the nodes of the pipeline \(ServerGate\)"):
            submit(ordain, api, project(), *words)
        with pytest.raises(ConfigError, match="changes the nodes of the pipeline"):
            ordain(
                "cluster",
                "schedule",
                "create",
                project(schedule={"cron": "0 3 * * *"}),
                "--host",
                api.url,
                *words,
            )
        assert api.requests == []

    def test_settings_that_are_none(self, api, project, ordain):
        with pytest.raises(ConfigError, match="unknown key 'train.stepz'"):
            submit(ordain, api, project(), "--set", "train.stepz=5")
        assert api.requests == []


def _written(api, sent, folder):
    path = folder / "compiled.yaml"
    path.write_text(api.store.files[sent["version_id"]])
    return path


def test_no_credentials_are_in_what_is_sent(project, told, monkeypatch):
    monkeypatch.setenv("KFP_TOKEN", "s3cret-token")
    folder = project(auth={"token_env": "KFP_TOKEN"})
    with serving(KubeflowApi(tokens={"s3cret-token"})) as api:
        sent = told("submit", folder, "--host", api.url)
        for request in api.requests:
            assert request.headers["authorization"] == "Bearer s3cret-token"
            assert "s3cret" not in json.dumps([request.path, request.query, request.body])
        text = api.store.files[sent["version_id"]]
        assert "s3cret" not in text
        assert "s3cret" not in json.dumps(sent)
