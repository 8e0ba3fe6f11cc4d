"""`ordain cluster runs | logs | cancel` against a server on loopback."""

import json

import pytest
import yaml
from kubeflow_api import Fault
from kubeflow_forms import pod_of
from kubeflow_store import Script

from ordain.errors import ConfigError, InfrastructureError

DONE = {"prepare": "SUCCEEDED", "statistics-gen": "SUCCEEDED", "trainer": ["FAILED", "RUNNING"]}


@pytest.fixture
def started(api, project, told):
    """Starts a run of a project and returns its id."""

    def start(*steps):
        api.store.script = Script(list(steps) or [("RUNNING", DONE)])
        return told("submit", project(), "--host", api.url)["run_id"]

    return start


class TestRuns:
    def test_newest_first_over_all_pages(self, api, told, started, monkeypatch):
        monkeypatch.setattr("ordain.kubeflow.client.server.PAGE_SIZE", 3)
        ids = [started() for _ in range(8)]
        found = told("cluster", "runs", "--host", api.url)
        assert [run["run_id"] for run in found] == ids[::-1]
        assert len(api.sent("GET", "/runs")) == 3
        assert {r.query["sort_by"] for r in api.sent("GET", "/runs")} == {"created_at desc"}
        few = told("cluster", "runs", "--host", api.url, "--limit", 2)
        assert [run["run_id"] for run in few] == ids[:-3:-1]

    def test_endless_pages_end(self, api, started, ordain, monkeypatch):
        monkeypatch.setattr("ordain.kubeflow.client.server.PAGE_SIZE", 1)
        monkeypatch.setattr("ordain.kubeflow.client.server.MAX_PAGES", 2)
        for _ in range(3):
            started()
        with pytest.raises(ConfigError, match="more than 2 entries"):
            ordain("cluster", "runs", "--host", api.url)

    def test_those_of_a_project(self, api, project, told, started, ordain):
        mine = started()
        folder = project()
        raw = yaml.safe_load((folder / "pipeline.yaml").read_text())
        (folder / "pipeline.yaml").write_text(yaml.safe_dump(raw | {"name": "other"}))
        told("submit", folder, "--host", api.url)
        found = told("cluster", "runs", project(), "--host", api.url)
        assert [run["run_id"] for run in found] == [mine]
        assert len(told("cluster", "runs", "--host", api.url)) == 2
        line = ordain("cluster", "runs", project(), "--host", api.url).output
        assert line.startswith(f"{mine}  ")
        assert "pending    toy 2" in line

    def test_those_of_an_experiment(self, api, project, told, started):
        started()
        words = ("--experiment", "nightly", "--create-experiment")
        mine = told("submit", project(), "--host", api.url, *words)["run_id"]
        found = told("cluster", "runs", "--host", api.url, "--experiment", "nightly")
        assert [run["run_id"] for run in found] == [mine]

    def test_a_project_that_was_never_submitted(self, api, project, ordain):
        with pytest.raises(ConfigError, match="no pipeline 'toy'") as caught:
            ordain("cluster", "runs", project(), "--host", api.url)
        assert caught.value.hint.startswith("ordain submit ")


class TestTasks:
    def test_the_backends_nodes_become_tasks(self, api, told, started):
        run = told("cluster", "logs", started(), "--host", api.url)
        assert [(t["name"], t["state"], len(t["pods"])) for t in run["tasks"]] == [
            ("prepare", "SUCCEEDED", 1),
            ("statistics-gen", "SUCCEEDED", 1),
            ("trainer", "RUNNING", 2),
        ]
        assert run["tasks"][2]["ended"] is None

    def test_in_words(self, api, ordain, started):
        told = ordain("cluster", "logs", started(), "--host", api.url).output.splitlines()
        assert told[0].endswith(
            "running  " + api.store.runs[next(iter(api.store.runs))].display_name
        )
        assert told[3].split()[:2] == ["trainer", "running"]
        assert told[3].endswith("2 attempts")

    def test_an_unknown_run(self, api, ordain):
        with pytest.raises(ConfigError, match="there is no run 'r1'") as caught:
            ordain("cluster", "logs", "r1", "--host", api.url)
        assert caught.value.hint == f"ordain cluster runs --host {api.url}"

    def test_an_unknown_task(self, api, ordain, started):
        with pytest.raises(ConfigError, match="has no task 'pusher'") as caught:
            ordain("cluster", "logs", started(), "pusher", "--host", api.url)
        assert caught.value.hint == "started tasks: prepare, statistics-gen, trainer"


class TestLogs:
    @pytest.mark.parametrize("name", ["statistics-gen", "StatisticsGen"])
    def test_from_kubeflow(self, api, ordain, started, name):
        run_id = started()
        api.logs[pod_of(api.store.get_run(run_id), "statistics-gen")] = "rows 10\n" * 50_000
        done = ordain("cluster", "logs", run_id, name, "--host", api.url)
        assert done.output == "rows 10\n" * 50_000

    def test_of_the_last_try(self, api, told, started):
        run_id = started()
        run = api.store.get_run(run_id)
        api.logs[pod_of(run, "trainer", 0)] = "first"
        api.logs[pod_of(run, "trainer", 1)] = "second"
        assert told("cluster", "logs", run_id, "trainer", "--host", api.url)["log"] == "second"

    def test_from_kubernetes(self, api, ordain, started, kubeconfig):
        run_id = started()
        pod = pod_of(api.store.get_run(run_id), "trainer")
        api.pods["team", pod] = "from the pod\n"
        words = ("cluster", "logs", run_id, "trainer", "--host", api.url, "--namespace", "team")
        assert ordain(*words).output == "from the pod\n"
        (asked,) = api.sent("GET", f"/pods/{pod}/log")
        assert asked.query == {"container": "main"}

    def test_the_ui_answers_with_its_page(self, api, ordain, started, kubeconfig):
        run_id = started()
        pod = pod_of(api.store.get_run(run_id), "trainer")
        api.pods["kubeflow", pod] = "from the pod\n"
        api.faults.append(Fault("page", path="/apis/v1alpha1/"))
        done = ordain("cluster", "logs", run_id, "trainer", "--host", api.url)
        assert done.output == "from the pod\n"

    def test_from_nowhere(self, api, ordain, started):
        with pytest.raises(InfrastructureError, match="could not fetch the log") as caught:
            ordain("cluster", "logs", started(), "trainer", "--host", api.url)
        assert "Failed to read logs for run" in caught.value.message
        assert "there is no kubeconfig" in caught.value.message
        assert " -c main" in caught.value.hint

    def test_neither_in_kubernetes(self, api, ordain, started, kubeconfig):
        with pytest.raises(InfrastructureError, match="404 in namespace kubeflow: pods"):
            ordain("cluster", "logs", started(), "trainer", "--host", api.url)


class TestCancel:
    def test_a_run_that_goes_on(self, api, ordain, told, started):
        run_id = started()
        done = ordain("cluster", "cancel", run_id, "--host", api.url)
        assert done.output == f"run {run_id}: canceling\n"
        assert len(api.sent("POST", f"/runs/{run_id}:terminate")) == 1
        assert told("cluster", "cancel", run_id, "--host", api.url)["state"] == "CANCELED"

    def test_a_run_that_is_over(self, api, ordain, started):
        run_id = started(("SUCCEEDED", {}))
        done = ordain("cluster", "cancel", run_id, "--host", api.url)
        assert done.output == f"run {run_id}: succeeded\n"
        assert not api.sent("POST", ":terminate")

    def test_an_unknown_run(self, api, ordain):
        with pytest.raises(ConfigError, match="there is no run 'r1'"):
            ordain("cluster", "cancel", "r1", "--host", api.url)


@pytest.fixture
def kubeconfig(api, tmp_path, monkeypatch):
    """A kubeconfig whose cluster is the server on loopback."""
    path = tmp_path / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": api.url}}],
        "users": [{"name": "me", "user": {"token": "of-kubernetes"}}],
    }
    path.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path
