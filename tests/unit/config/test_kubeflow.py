"""The section `kubeflow`: what a cluster would refuse is refused when it is read."""

import pytest

from ordain.config.kubeflow import Retries
from ordain.config.kubernetes_types import quantity
from ordain.config.loading import load_project, load_unresolved
from ordain.errors import ConfigError


@pytest.mark.parametrize("load", [load_project, load_unresolved])
@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("image", "two words", "must be an image"),
        ("image", "registry.example.org/Toy:1", "must be an image"),
        ("image", "toy:${env:TAG}", "may not hold ${env:NAME}"),
        ("project", "project", "must be an absolute path"),
        ("project", "/a/../b", "without '.' and '..'"),
        ("pipeline_root", "s3://bucket/x", "an absolute path on a volume, or gs://"),
        ("pipeline_root", "/w/{{x}}", "an absolute path on a volume, or gs://"),
        ("service_account", "Ordain", "must be a Kubernetes name"),
        ("service_account", "a" * 254, "at most 253"),
        ("pull_policy", "Sometimes", "'Always', 'IfNotPresent' or 'Never'"),
        ("pull_secrets", ["my_secret"], "must be a Kubernetes name"),
        ("labels", {"a b": "c"}, "must be a label's key"),
        ("labels", {"a": "b c"}, "must be a label's value"),
        ("labels", {"a": "x" * 64}, "must be a label's value"),
        ("env", {"2X": "1"}, "must be a variable's name"),
        ("env", {"X": "${env:HOME}"}, "may not hold ${env:NAME}"),
        ("env", {"X": "y" * 4097}, "at most 4096"),
        ("secrets", [{"name": "s", "key": "a b", "env": "X"}], "secrets.0.key"),
        ("secrets", [{"name": "s"}], "needs key and env for a variable, or path for files"),
        ("secrets", [{"name": "s", "key": "k"}], "needs key and env for a variable, or path"),
        ("secrets", [{"name": "s", "key": "k", "env": "X", "path": "/s"}], "or path for files"),
        ("secrets", [{"name": "s", "key": "k", "path": "/s"}], "or path for files"),
        ("secrets", [{"name": "s", "path": "s"}], "must be an absolute path"),
        ("volumes", [{"claim": "c", "path": "data"}], "must be an absolute path"),
        ("defaults", {"cpu": "1.2345"}, "must be cores"),
        ("defaults", {"cpu": 0}, "must be above 0"),
        ("defaults", {"memory": "1K"}, "must be bytes"),
        ("defaults", {"memory": "1.5Gi"}, "must be bytes"),
        ("defaults", {"retries": {"count": 21}}, "less than or equal to 20"),
        ("defaults", {"retries": {"max_s": 7200}}, "less than or equal to 3600"),
        ("defaults", {"retries": {"backoff_s": 60, "max_s": 30}}, "above max_s 30"),
        ("defaults", {"timeout_s": 0}, "greater than or equal to 1"),
        ("defaults", {"accelerator": {"type": "gpu"}}, "such as nvidia.com/gpu"),
        ("defaults", {"accelerator": {"type": "nvidia.com/gpu", "count": 0}}, "equal to 1"),
        ("defaults", {"node_selector": {"a": "b c"}}, "must be a label's value"),
        ("defaults", {"tolerations": [{"operator": "Exists", "value": "x"}]}, "takes none"),
        ("defaults", {"tolerations": [{"value": "x"}]}, "needs operator: Exists"),
        ("defaults", {"tolerations": [{"key": "a", "seconds": 3}]}, "needs effect: NoExecute"),
        ("defaults", {"cpu": 1, "cpu_request": 2}, "cpu_request 2 is above cpu 1"),
        ("nodes", {"Trainer": {"cpu": 1, "cpu_request": 2}}, "cpu_request 2 is above cpu 1"),
        (
            "nodes",
            {"Trainer": {"memory": "1Gi", "memory_request": "1200M"}},
            "memory_request 1200M is above memory 1Gi",
        ),
        ("nodes", {"Trainer": {"cpus": 1}}, "did you mean 'cpu'?"),
        ("nodes", {"../x": {}}, "nodes"),
        ("namespace", "Team", "must be lower-case letters"),
        ("host", "ftp://x", "must begin with http:// or https://"),
        ("auth", {}, "needs exactly one of"),
        ("auth", {"token_env": "A", "cookies_env": "B"}, "needs exactly one of"),
    ],
)
def test_wrong_values_are_refused(make_folder, load, key, value, problem, monkeypatch):
    monkeypatch.setenv("TAG", "1")
    with pytest.raises(ConfigError) as caught:
        load(make_folder(kubeflow={key: value}))
    assert f"kubeflow.{key}" in caught.value.message
    assert problem in caught.value.message


@pytest.mark.parametrize(
    ("env", "is_secret"),
    [
        ({"DB_PASSWORD": "x"}, True),
        ({"db_password": "x"}, True),
        ({"PGPASSWORD": "x"}, True),
        ({"API_KEY": "x"}, True),
        ({"AWS_SECRET_ACCESS_KEY": "x"}, True),
        ({"MY_TOKEN": "x"}, True),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "/run/secrets/google/key.json"}, False),
        ({"PROXY": "http://user:hush@proxy:80"}, True),
        ({"TOKEN_FILE": "/var/run/token"}, False),
        ({"SECRET_NAME": "database"}, False),
        ({"TOKENIZERS_PARALLELISM": "false"}, False),
        ({"PARTITION_KEY": "date"}, False),
        ({"PROXY": "http://proxy:80"}, False),
    ],
)
def test_a_variable_that_looks_like_a_secret_is_refused_and_not_repeated(
    make_folder, env, is_secret
):
    folder = make_folder(kubeflow={"env": env})
    if not is_secret:
        assert load_project(folder).kubeflow.env == env
        return
    with pytest.raises(ConfigError) as caught:
        load_project(folder)
    assert "looks like a secret" in caught.value.message
    assert "hush" not in caught.value.message


def test_names_are_given_once(make_folder):
    secret = {"name": "s", "key": "k", "env": "X"}
    for keys in (
        {"env": {"X": "1"}, "secrets": [secret]},
        {"secrets": [secret, secret]},
        {"volumes": [{"claim": "a", "path": "/w"}, {"claim": "b", "path": "/w"}]},
        {"volumes": [{"claim": "a", "path": "/w"}], "secrets": [{"name": "s", "path": "/w"}]},
    ):
        with pytest.raises(ConfigError, match="is given more than once"):
            load_project(make_folder(kubeflow=keys))


def test_a_host_with_a_password_is_refused_and_not_repeated(make_folder):
    with pytest.raises(ConfigError) as caught:
        load_project(make_folder(kubeflow={"host": "https://me:hush@kfp.example.org"}))
    assert "kubeflow.host" in caught.value.message
    assert "hush" not in caught.value.message


def test_a_nodes_wishes_stand_on_top_of_the_defaults(make_project):
    project = make_project(
        kubeflow={
            "defaults": {"cpu": 2, "memory": "4Gi", "node_selector": {"pool": "small"}},
            "nodes": {"Trainer": {"memory": "16Gi", "node_selector": {"gpu": "yes"}}},
        }
    )
    trainer, other = project.kubeflow.pod("Trainer"), project.kubeflow.pod("Transform")
    assert (trainer.cpu, trainer.memory) == ("2", "16Gi")
    assert trainer.node_selector == {"gpu": "yes"}
    assert (other.cpu, other.memory, other.node_selector) == ("2", "4Gi", {"pool": "small"})
    assert other.retries == Retries()


def test_files_of_the_client_stand_relative_to_the_project(make_project):
    project = make_project(kubeflow={"ca_file": "ca.pem", "auth": {"token_file": "/run/token"}})
    assert project.kubeflow.ca_file == project.folder / "ca.pem"
    assert str(project.kubeflow.auth.token_file) == "/run/token"


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", 0.5), ("2", 2), ("0.25", 0.25), ("1Ki", 1024), ("3M", 3e6), ("4Gi", 4 * 2**30)],
)
def test_quantities_are_kubernetes_own(text, value):
    assert quantity(text) == value
