"""A project to a compiled file: what each key becomes, and what is never in it.

After a change that is meant, renew the golden file and look at the difference in git:
ORDAIN_RENEW_GOLDEN=1 .venv/bin/python -m pytest tests/unit/kubeflow/compiler/test_compiler.py
"""

import base64
import dataclasses
import json
import os
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from ordain.cli.main import cli
from ordain.config.loading import load_raw, load_unresolved
from ordain.errors import ConfigError
from ordain.kubeflow.compiler.compiler import compile_plan, compile_project
from ordain.kubeflow.compiler.plan import make_plan, task_images
from ordain.kubeflow.pod import entrypoint
from ordain.project.source import image_fingerprint

ROOT = Path(__file__).resolve().parents[4]
FLIGHTS = ROOT / "examples" / "flights"


def compile_text(folder, env=None, settings=()):
    return compile_project(folder, env, settings).text


GOLDEN = Path(__file__).parent / "golden" / "flights.yaml"
VOLUMES = [{"claim": "work", "path": "/workspace"}]
SERVER = "postgresql://ordain:${env:SECRET}@db/ordain"
CLUSTER = {"image": "registry.example.org/toy:1", "volumes": VOLUMES}


@pytest.fixture
def make_cluster_project(make_folder):
    """Writes a project that compiles; keyword arguments are keys of `kubeflow`."""

    def make(keys=None, **cluster):
        told = {"workspace": "/workspace", **(keys or {})}
        return make_folder(kubeflow={**CLUSTER, **cluster}, **told)

    return make


def compiled(folder, *settings, env=None):
    text = compile_text(folder, env, settings)
    spec, platform = yaml.load_all(text, Loader=yaml.CSafeLoader)
    return spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def tasks(spec):
    """All tasks: those of the group, and the one behind it."""
    (group,) = set(spec["root"]["dag"]["tasks"]) - {"on-exit"}
    return {
        **spec["components"][f"comp-{group}"]["dag"]["tasks"],
        "on-exit": spec["root"]["dag"]["tasks"]["on-exit"],
    }


def task(spec, name):
    return tasks(spec)[name]


def container(spec, name):
    return spec["deploymentSpec"]["executors"][f"exec-{name}"]["container"]


def refusal(folder, *settings):
    with pytest.raises(ConfigError) as caught:
        compile_text(folder, None, settings)
    return f"{caught.value.message}\n{caught.value.hint}"


class TestGolden:
    def test_the_flights_pipeline_compiles_to_the_golden_file(self):
        text = compile_text(FLIGHTS, "prod")
        if os.environ.get("ORDAIN_RENEW_GOLDEN"):
            GOLDEN.parent.mkdir(exist_ok=True)
            GOLDEN.write_text(text, encoding="utf-8")
        expected = GOLDEN.read_text(encoding="utf-8") if GOLDEN.exists() else ""
        assert text == expected, f"differs from {GOLDEN}; {__doc__.splitlines()[3]}"

    def test_its_overlay_is_one_that_the_pods_can_use(self):
        assert compile_project(FLIGHTS, "prod").notes == ()


class TestTasks:
    def test_there_is_one_for_each_node_between_prepare_and_result(self, make_cluster_project):
        spec, _ = compiled(make_cluster_project())
        assert {t["taskInfo"]["name"] for t in tasks(spec).values()} == {
            *(
                "prepare",
                "result",
                "on-exit",
                "ExampleGen",
                "StatisticsGen",
                "SchemaGen",
                "ExampleValidator",
            ),
            *("DataGate", "AnalyzerCache", "Transform", "Trainer", "Baseline", "Evaluator"),
            *("ServerGate", "Pusher"),
        }

    def test_a_node_waits_for_what_it_takes_from_and_for_prepare(self, make_cluster_project):
        spec, _ = compiled(make_cluster_project())
        waits = task(spec, "transform")["dependentTasks"]
        assert waits == ["analyzer-cache", "data-gate", "example-gen", "prepare", "schema-gen"]
        everything = set(tasks(spec)) - {"result", "on-exit"}
        assert set(task(spec, "result")["dependentTasks"]) == everything
        assert "dependentTasks" not in task(spec, "prepare")

    @pytest.mark.parametrize(
        ("setting", "name", "is_there"),
        [
            ("tune={}", "tuner", True),
            ("train.base_model=served", "base-model", True),
            ("evaluate.baseline={none: because}", "baseline", False),
            ("gate.server.none=because", "server-gate", False),
        ],
    )
    def test_optional_nodes_have_one_where_the_project_wants_them(
        self, make_cluster_project, setting, name, is_there
    ):
        folder = make_cluster_project()
        assert (name in tasks(compiled(folder)[0])) is not is_there
        assert (name in tasks(compiled(folder, setting)[0])) is is_there

    def test_the_run_parameters_are_texts_with_defaults(self, make_cluster_project):
        parameters = compiled(make_cluster_project())[0]["root"]["inputDefinitions"]["parameters"]
        assert {name: given["defaultValue"] for name, given in parameters.items()} == {
            "span": "",
            "settings": "",
            "pipeline_root": "/workspace",
        }
        assert all(given["parameterType"] == "STRING" for given in parameters.values())

    def test_their_command_lines_are_what_the_entrypoint_reads(self, make_cluster_project):
        spec, _ = compiled(make_cluster_project())
        for name in ("prepare", "trainer", "result", "on-exit"):
            told = container(spec, name)
            assert told["command"] == ["python", "-m", "ordain.kubeflow.pod.entrypoint"]
            given = entrypoint._parser().parse_args(told["args"])
            assert given.run_id == "{{$.inputs.parameters['run_id']}}"
            # The driver fills it here; the launcher fills nothing of the run's in a command.
            inputs = task(spec, name)["inputs"]["parameters"]
            assert inputs["run_id"]["runtimeValue"]["constant"] == "{{$.pipeline_job_uuid}}"
            assert given.html == "{{$.outputs.artifacts['html'].path}}"
            assert given.executor_input == "{{$}}"
        assert entrypoint._parser().parse_args(container(spec, "trainer")["args"]).node == "Trainer"

    def test_each_leaves_a_page_and_numbers(self, make_cluster_project):
        spec, _ = compiled(make_cluster_project())
        for component in (c for c in spec["components"].values() if "executorLabel" in c):
            left = component["outputDefinitions"]["artifacts"]
            kinds = {name: one["artifactType"]["schemaTitle"] for name, one in left.items()}
            assert kinds == {"html": "system.HTML", "metrics": "system.Metrics"}

    def test_kfps_own_cache_is_off(self, make_cluster_project):
        for one in tasks(compiled(make_cluster_project())[0]).values():
            assert not one["cachingOptions"].get("enableCache", False)

    def test_prepare_gets_the_compiled_configuration(self, make_cluster_project):
        folder = make_cluster_project({"train__steps": 7})
        given = entrypoint._parser().parse_args(container(compiled(folder)[0], "prepare")["args"])
        assert given.project == "/project"
        assert given.source == image_fingerprint(folder, folder / "schema.pbtxt")
        raw = load_unresolved(folder).effective
        assert "kubeflow" in raw
        config = json.loads(given.config)
        assert config == {key: value for key, value in raw.items() if key != "kubeflow"}
        assert load_raw(config, folder).train.steps == 7
        assert json.loads(given.nodes)["ExampleValidator"] == ["StatisticsGen", "SchemaGen"]

    def test_the_overlay_and_settings_are_part_of_it(self, make_cluster_project):
        folder = make_cluster_project()
        (folder / "pipeline.prod.yaml").write_text("data: {window: 2}\n")
        spec, _ = compiled(folder, "train.steps=9", env="prod")
        given = entrypoint._parser().parse_args(container(spec, "prepare")["args"])
        config = json.loads(given.config)
        assert (given.env, config["data"]["window"], config["train"]["steps"]) == ("prod", 2, 9)

    def test_a_text_that_argo_or_kubernetes_would_replace_arrives_unchanged(
        self, make_cluster_project
    ):
        parameters = {
            "a": "{{workflow.name}} {{{x}}}",
            "b": "$(HOME) $(( {{$.x}} {{$}} {{$.inputs.parameters['span']}}",
            "c": "grün $$ $$$ $$(X) $a a$ ${env:A}",
        }
        folder = make_cluster_project({"train__parameters": parameters})
        for name in ("prepare", "on-exit"):
            args = container(compiled(folder)[0], name)["args"]
            (text,) = [a for a in args if "workflow" in a]
            assert not re.search(r"\{\{|\$\(|\$\$", text)
            assert json.loads(text)["train"]["parameters"] == parameters

    def test_a_key_that_yaml_takes_for_a_truth_value_arrives_as_its_name(
        self, make_cluster_project
    ):
        folder = make_cluster_project()
        with (folder / "pipeline.yaml").open("a") as file:
            file.write("notify:\n- on: [failed]\n  command: [cat]\n")
        given = entrypoint._parser().parse_args(container(compiled(folder)[0], "prepare")["args"])
        assert load_raw(json.loads(given.config), folder).notify[0].on == ("failed",)


class TestPods:
    def test_a_node_asks_for_what_is_set_for_it_and_else_for_the_defaults(
        self, make_cluster_project
    ):
        trainer = {
            "cpu": 4,
            "memory": "16Gi",
            "cpu_request": "500m",
            "memory_request": "8Gi",
            "accelerator": {"type": "nvidia.com/gpu", "count": 2},
            "node_selector": {"pool": "gpu"},
            "tolerations": [
                {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "seconds": 60}
            ],
            "retries": {"count": 5, "backoff_s": 10, "factor": 3, "max_s": 900},
            "timeout_s": 7200,
            "image": "registry.example.org/gpu:2",
        }
        folder = make_cluster_project(
            defaults={"cpu": 1, "memory": "2Gi"}, nodes={"Trainer": trainer}
        )
        spec, pods = compiled(folder)
        resources = container(spec, "trainer")["resources"]
        assert resources["resourceCpuLimit"] == "4"
        assert resources["resourceCpuRequest"] == "500m"
        assert resources["resourceMemoryLimit"] == "16Gi"
        assert resources["resourceMemoryRequest"] == "8Gi"
        assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
        assert resources["accelerator"]["resourceCount"] == "2"
        assert container(spec, "trainer")["image"] == "registry.example.org/gpu:2"
        assert task(spec, "trainer")["retryPolicy"] == {
            "maxRetryCount": 5,
            "backoffDuration": "10s",
            "backoffFactor": 3.0,
            "backoffMaxDuration": "900s",
        }
        assert pods["exec-trainer"]["nodeSelector"] == {"labels": {"pool": "gpu"}}
        assert pods["exec-trainer"]["tolerations"] == [
            {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": "60"}
        ]
        assert pods["exec-trainer"]["activeDeadlineSeconds"] == "7200"

        other = container(spec, "transform")
        assert other["image"] == "registry.example.org/toy:1"
        assert other["resources"]["resourceMemoryLimit"] == "2Gi"
        assert "accelerator" not in other["resources"]
        assert not {"nodeSelector", "tolerations", "activeDeadlineSeconds"} & set(
            pods["exec-transform"]
        )

    def test_all_get_volumes_variables_secrets_labels_and_pull_policy(self, make_cluster_project):
        folder = make_cluster_project(
            volumes=[*VOLUMES, {"claim": "data", "path": "/data"}],
            env={"REGION": "north", "DEBUG": 1},
            secrets=[{"name": "database", "key": "password", "env": "DB_PASSWORD"}],
            labels={"example.org/team": "ml"},
            pull_policy="Always",
            pull_secrets=["registry", "mirror"],
        )
        spec, pods = compiled(folder)
        assert len(pods) == 15
        for label, pod in pods.items():
            mounts = [(m["pvcNameParameter"], m["mountPath"]) for m in pod["pvcMount"]]
            assert mounts == [
                ({"runtimeValue": {"constant": "work"}}, "/workspace"),
                ({"runtimeValue": {"constant": "data"}}, "/data"),
            ]
            (secret,) = pod["secretAsEnv"]
            assert secret["secretNameParameter"] == {"runtimeValue": {"constant": "database"}}
            assert secret["keyToEnv"] == [{"secretKey": "password", "envVar": "DB_PASSWORD"}]
            assert secret["optional"] is False
            assert pod["podMetadata"] == {"labels": {"example.org/team": "ml"}}
            assert pod["imagePullPolicy"] == "Always"
            assert [s["secretName"] for s in pod["imagePullSecret"]] == ["registry", "mirror"]
            env = spec["deploymentSpec"]["executors"][label]["container"]["env"]
            assert env == [{"name": "REGION", "value": "north"}, {"name": "DEBUG", "value": "1"}]

    def test_what_concludes_the_run_is_never_retried(self, make_cluster_project):
        spec, _ = compiled(make_cluster_project(nodes={"result": {"retries": {"count": 9}}}))
        assert "retryPolicy" not in task(spec, "result")
        assert "retryPolicy" not in task(spec, "on-exit")
        assert task(spec, "prepare")["retryPolicy"]["maxRetryCount"] == 2

    def test_what_runs_after_failures_is_the_hook_of_one_task_and_takes_nothing_of_others(
        self, make_cluster_project
    ):
        spec, _ = compiled(make_cluster_project())
        (group,) = set(spec["root"]["dag"]["tasks"]) - {"on-exit"}
        last = task(spec, "on-exit")
        assert last["dependentTasks"] == [group]
        assert last["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
        assert not [v for v in last["inputs"]["parameters"].values() if "taskOutputParameter" in v]
        others = [one for name, one in tasks(spec).items() if name != "on-exit"]
        assert not [one for one in others if "triggerPolicy" in one]

    def test_all_get_a_secrets_files(self, make_cluster_project):
        place = "/run/secrets/google"
        spec, pods = compiled(
            make_cluster_project(
                env={"GOOGLE_APPLICATION_CREDENTIALS": f"{place}/key.json"},
                secrets=[{"name": "google", "path": place}],
            )
        )
        for label, pod in pods.items():
            (mounted,) = pod["secretAsVolume"]
            assert (mounted["secretName"], mounted["mountPath"]) == ("google", place)
            env = spec["deploymentSpec"]["executors"][label]["container"]["env"]
            assert {"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": f"{place}/key.json"} in env

    def test_no_retries_are_no_policy(self, make_cluster_project):
        spec, _ = compiled(make_cluster_project(nodes={"Trainer": {"retries": {"count": 0}}}))
        assert "retryPolicy" not in task(spec, "trainer")


class TestBucket:
    @pytest.mark.parametrize("directory", ["gs://bucket/served", "/workspace/served"])
    def test_it_is_the_default_of_the_run_parameter(self, make_cluster_project, directory):
        keys = {"metadata": SERVER, "push": {"directory": directory}, "workspace": "var"}
        spec, _ = compiled(make_cluster_project(keys, pipeline_root="gs://bucket/x"))
        told = spec["root"]["inputDefinitions"]["parameters"]["pipeline_root"]
        assert told["defaultValue"] == "gs://bucket/x"

    def test_it_needs_no_volume(self, make_cluster_project):
        keys = {"metadata": SERVER, "push": {"directory": "gs://bucket/served"}}
        text = compile_text(make_cluster_project(keys, pipeline_root="gs://bucket/x", volumes=[]))
        assert "pvcMount" not in text


class TestRefused:
    def test_no_image(self, make_cluster_project):
        assert "kubeflow.image: is not set" in refusal(make_cluster_project(image=None))

    def test_a_node_that_the_pipeline_does_not_have(self, make_cluster_project):
        message = refusal(make_cluster_project(nodes={"Trianer": {"cpu": 1}}))
        assert "kubeflow.nodes.Trianer: the pipeline has no such node; did you mean 'Trainer'?" in (
            message
        )

    @pytest.mark.parametrize(
        ("keys", "cluster", "problem"),
        [
            ({"workspace": "var"}, {}, "workspace /project/var: lies on no volume"),
            ({"workspace": "/workspace2"}, {}, "workspace /workspace2: lies on no volume"),
            ({}, {"pipeline_root": "/other"}, "kubeflow.pipeline_root /other: lies on no volume"),
            ({"workspace": "gs://bucket/x"}, {}, "a bucket is kubeflow.pipeline_root: gs://"),
            ({"workspace": "${env:HOME}/w"}, {}, "must be a folder on a volume"),
            ({}, {"volumes": []}, "kubeflow.volumes mounts none"),
        ],
    )
    def test_a_workspace_that_pods_do_not_share(self, make_cluster_project, keys, cluster, problem):
        assert problem in refusal(make_cluster_project(keys, **cluster))

    @pytest.mark.parametrize(
        ("keys", "problem"),
        [
            ({}, "metadata is not set: a SQLite file, and with pipeline_root gs://bucket/x"),
            ({"metadata": "/workspace/ml.sqlite"}, "metadata /workspace/ml.sqlite: a SQLite file"),
            ({"metadata": "grpc://db:8080"}, "metadata grpc://db:8080: with it pods are kept"),
            ({"metadata": SERVER}, "push.directory: is not set, and with pipeline_root gs://"),
            (
                {"metadata": SERVER, "push": {"directory": "served"}},
                "push.directory /project/served: lies on no volume",
            ),
            (
                {
                    "metadata": SERVER,
                    "push": {"directory": "gs://bucket/served"},
                    "beam_args": ["--runner=PortableRunner", "--job_endpoint=x:1"],
                },
                "beam_args: runner PortableRunner has workers outside of the node's pod",
            ),
        ],
    )
    def test_what_pods_with_a_bucket_alone_cannot_have(self, make_cluster_project, keys, problem):
        folder = make_cluster_project(keys, pipeline_root="gs://bucket/x")
        assert problem in refusal(folder)

    def test_a_configuration_that_no_argument_can_hold(self, make_cluster_project):
        folder = make_cluster_project({"train__parameters": {"text": "x" * 140_000}})
        message = refusal(folder)
        assert "rule argument-size: deploymentSpec.executors.exec-prepare.container.args" in message

    def test_nodes_that_kubernetes_would_call_the_same(self, make_cluster_project):
        project = load_unresolved(make_cluster_project())
        with pytest.raises(ConfigError, match="would be the task my-node; a task has one node"):
            task_images(project.kubeflow, {"MyNode": (), "my_node": ()})
        with pytest.raises(ConfigError, match="prepare, result, on-exit are ordain's own tasks"):
            task_images(project.kubeflow, {"Result": ()})


class TestNotes:
    def test_name_variables_that_the_pods_do_not_get(self, make_cluster_project):
        keys = {"train__parameters": {"a": "${env:GIVEN} ${env:SECRET} ${env:MISSING}"}}
        folder = make_cluster_project(
            keys, env={"GIVEN": "x"}, secrets=[{"name": "s", "key": "k", "env": "SECRET"}]
        )
        (about,) = [n for n in compile_project(folder).notes if "refers to" in n]
        assert "refers to MISSING;" in about

    def test_warn_of_sqlite_on_a_volume(self, make_cluster_project):
        sqlite = compile_project(make_cluster_project()).notes
        assert any("metadata is a SQLite file" in note for note in sqlite)
        server = make_cluster_project({"metadata": "postgresql://ordain@db/ordain"})
        assert compile_project(server).notes == ()


SECRETS = {
    "TEST_DB_PASSWORD": "pass-Zm4",
    "TEST_API_KEY": "key+9/=Q%",
    "TEST_WEBHOOK": "https://hooks.example.org/T0/B1/xyz",
    "TEST_SIGNING": "phrase with blanks",
    "TEST_TOKEN": "eyJhbGciOi",
    "TEST_PATH": "/secret/place",
    "TEST_STEPS": "73519",
}


class TestSecrets:
    @pytest.fixture
    def folder(self, make_cluster_project):
        return make_cluster_project(
            {
                "metadata": "postgresql://ordain:${env:TEST_DB_PASSWORD}@db/ordain",
                "train__parameters": {"key": "${env:TEST_API_KEY}"},
                "train__steps": "${env:TEST_STEPS}",
                "notify": [{"on": ["failed"], "webhook": "${env:TEST_WEBHOOK}"}],
                "push__signing": {
                    "public_key": "a.pem",
                    "private_key": "b.pem",
                    "password": "${env:TEST_SIGNING}",
                },
                "data__path": "${env:TEST_PATH}",
            },
            secrets=[{"name": "db", "key": "password", "env": "TEST_DB_PASSWORD"}],
            auth={"token_env": "TEST_TOKEN"},
        )

    def test_no_value_is_in_the_file_in_any_form(self, folder, monkeypatch):
        for name, value in SECRETS.items():
            monkeypatch.setenv(name, value)
        text = compile_text(folder)
        for name, value in SECRETS.items():
            forms = (
                value,
                urllib.parse.quote(value, safe=""),
                base64.b64encode(value.encode()).decode(),
                json.dumps(value)[1:-1],
            )
            assert not [form for form in forms if form in text], name
        # They were there to be found: every one that a pod needs is a reference in the file.
        for name in set(SECRETS) - {"TEST_TOKEN"}:
            assert f"${{env:{name}}}" in text
        assert "TEST_TOKEN" not in text

    def test_the_file_is_the_same_without_any_variable(self, folder, monkeypatch):
        for name, value in SECRETS.items():
            monkeypatch.setenv(name, value)
        with_them = compile_text(folder)
        for name in SECRETS:
            monkeypatch.delenv(name)
        assert compile_text(folder) == with_them

    def test_a_password_that_is_written_out_is_refused_and_not_repeated(self, make_cluster_project):
        message = refusal(make_cluster_project({"metadata": "postgresql://u:hush-hush@db/ordain"}))
        assert "metadata: holds a password" in message
        assert "hush-hush" not in message


COMPILE_ALONE = """
import sys


def refuse(event, arguments):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.bind")):
        raise RuntimeError(f"{event} {arguments}")


sys.addaudithook(refuse)
from ordain.kubeflow.compiler.compiler import compile_project
sys.stdout.write(compile_project(sys.argv[1]).text)
assert not {"tfx", "tensorflow"} & set(sys.modules)
"""


class TestAlone:
    def test_same_bytes_in_another_process_without_network_and_environment(
        self, make_cluster_project
    ):
        folder = make_cluster_project(
            {"train__parameters": {"key": "${env:NOBODY_SETS_THIS}"}},
            labels={"a": "1", "b": "2", "c": "3"},
            env={"X": "1", "A": "2"},
        )
        texts = {compile_text(folder)}
        for seed in ("1", "2"):
            done = subprocess.run(
                [sys.executable, "-c", COMPILE_ALONE, str(folder)],
                capture_output=True,
                text=True,
                check=False,
                env={"PYTHONHASHSEED": seed, "HOME": str(folder), "PATH": os.environ["PATH"]},
                cwd=folder,
            )
            assert done.returncode == 0, done.stderr
            texts.add(done.stdout)
        assert len(texts) == 1


class TestLongChain:
    def test_of_forty_nodes_stays_far_below_the_limits(self, make_cluster_project):
        folder = make_cluster_project(
            env={f"VARIABLE_{n}": "x" * 40 for n in range(10)},
            labels={f"example.org/label-{n}": "value" for n in range(5)},
        )
        plan = make_plan(folder)
        names = [f"SyntheticNode{n}" for n in range(40)]
        # Each takes something from the ten before it: more than any chain of TFX does.
        chain = {name: tuple(names[max(0, n - 10) : n]) for n, name in enumerate(names)}
        images = task_images(plan.project.kubeflow, chain)
        text = compile_plan(dataclasses.replace(plan, topology=chain, images=images)).text
        spec = next(yaml.safe_load_all(text))
        assert len(tasks(spec)) == 43
        longest = max(
            len(word.encode())
            for executor in spec["deploymentSpec"]["executors"].values()
            for word in executor["container"]["args"]
        )
        assert longest < 131_072 / 8
        # KFP's driver gets the whole graph as one argument: that is the nearest limit.
        (group,) = set(spec["root"]["dag"]["tasks"]) - {"on-exit"}
        assert len(json.dumps(spec["components"][f"comp-{group}"])) < 131_072 / 2
        assert len(text.encode()) < 1_000_000 / 3


class TestCommand:
    def test_writes_the_file_and_describes_it(self, make_cluster_project, tmp_path):
        folder, path = make_cluster_project(), tmp_path / "out" / "toy.yaml"
        done = CliRunner().invoke(cli, ["compile", str(folder), "-o", str(path)])
        assert done.exit_code == 0, done.output
        assert path.read_text() == compile_text(folder)
        assert f"{path}: pipeline toy, 15 tasks" in done.output
        assert "note: metadata is a SQLite file" in done.output

    def test_writes_nothing_that_breaks_a_rule(self, make_cluster_project, tmp_path):
        folder = make_cluster_project({"train__parameters": {"text": "x" * 140_000}})
        done = CliRunner().invoke(
            cli, ["compile", str(folder), "-o", str(tmp_path / "toy.yaml")], standalone_mode=False
        )
        assert isinstance(done.exception, ConfigError)
        assert list(tmp_path.glob("*.yaml")) == []

    def test_prints_the_file_for_a_dash(self, make_cluster_project):
        folder = make_cluster_project({"metadata": "postgresql://ordain@db/ordain"})
        done = CliRunner().invoke(cli, ["compile", str(folder), "-o", "-"])
        assert done.output == compile_text(folder)
