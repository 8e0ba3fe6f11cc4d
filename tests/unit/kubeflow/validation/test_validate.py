"""The backend's rules: a good file passes, and each broken variant is refused for its own rule."""

import copy
import json
from pathlib import Path

import pytest
import yaml
from yaml import CSafeDumper

from ordain.errors import ConfigError
from ordain.kubeflow.compiler.compiler import compile_project
from ordain.kubeflow.validation import file as rules_file
from ordain.kubeflow.validation import validate as rules
from ordain.kubeflow.validation.sizes import MAX_ARGUMENT_BYTES

CLUSTER = {
    "image": "registry.example.org/toy:1",
    "env": {"REGION": "north"},
    "labels": {"team": "ml"},
    "secrets": [{"name": "database", "key": "password", "env": "DB_PASSWORD"}],
    "volumes": [{"claim": "work", "path": "/workspace"}],
    "defaults": {
        "cpu": 1,
        "memory": "2Gi",
        "accelerator": {"type": "nvidia.com/gpu"},
        "retries": {"count": 2},
    },
}


@pytest.fixture(scope="module")
def good(write_project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rules") / "toy"
    write_project(folder, workspace="/workspace", kubeflow=CLUSTER)
    return compile_project(folder).text


@pytest.fixture(scope="module")
def parsed(good):
    return list(yaml.safe_load_all(good))


@pytest.fixture
def documents(parsed):
    return copy.deepcopy(parsed)


def dump(documents):
    # By way of JSON, which has no aliases.
    return yaml.dump_all([json.loads(json.dumps(one)) for one in documents], Dumper=CSafeDumper)


def tasks(spec):
    """The tasks of the group."""
    return spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]


def root(spec):
    return spec["root"]["dag"]["tasks"]


def after_failures(spec, name="result"):
    """Makes a task of the group one that runs after failures too."""
    tasks(spec)[name]["triggerPolicy"] = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}


def container(spec, label="exec-trainer"):
    return spec["deploymentSpec"]["executors"][label]["container"]


def pod(platform, label="exec-trainer"):
    return platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][label]


#: The inputs of a node's task.
PLANNED = ("plan", "run_id")


def downstream(spec):
    """Tasks of the group that wait for StatisticsGen."""
    return [t for t in tasks(spec).values() if "statistics-gen" in t.get("dependentTasks", ())]


def nest(spec):
    """Puts the component of the Trainer behind a graph of its own, whose task lacks an input."""
    spec["components"]["comp-inner"] = spec["components"]["comp-trainer"]
    spec["components"]["comp-trainer"] = {
        "inputDefinitions": spec["components"]["comp-inner"]["inputDefinitions"],
        "dag": {
            "tasks": {
                "inner": {
                    "componentRef": {"name": "comp-inner"},
                    "taskInfo": {"name": "inner"},
                    "cachingOptions": {},
                }
            }
        },
    }


BROKEN = [
    # rule, where the message points to, what is done to document 1 and to document 2
    ("pipeline-spec", "document 1", lambda s, p: s.update(pipelineSpec={})),
    ("pipeline-spec", "document 1", lambda s, p: tasks(s)["trainer"].update(retries=3)),
    ("pipeline-spec", "document 1", lambda s, p: tasks(s).update(trainer="a text")),
    ("pipeline-spec", "deploymentSpec", lambda s, p: container(s).update(imag="x")),
    ("platform-spec", "document 2", lambda s, p: p.update(platform={})),
    ("platform-spec", "exec-trainer", lambda s, p: pod(p).update(pvcMounts=[])),
    ("platform-spec", "exec-trainer", lambda s, p: pod(p).update(imagePullPolicy=3)),
    ("schema-version", "schemaVersion", lambda s, p: s.update(schemaVersion="2.0.0")),
    ("schema-version", "schemaVersion", lambda s, p: s.pop("schemaVersion")),
    ("pipeline-name", "pipelineInfo.name", lambda s, p: s["pipelineInfo"].update(name="Toy")),
    ("pipeline-name", "pipelineInfo.name", lambda s, p: s["pipelineInfo"].update(name="-toy")),
    ("pipeline-name", "pipelineInfo.name", lambda s, p: s["pipelineInfo"].update(name="a" * 129)),
    ("pipeline-name", "pipelineInfo.name", lambda s, p: s.pop("pipelineInfo")),
    ("root", "root", lambda s, p: s.pop("root")),
    ("root", "root", lambda s, p: s["root"].update(dag={})),
    ("task-name", "example_gen2", lambda s, p: tasks(s).update(example_gen2=tasks(s)["prepare"])),
    ("task-name", "a" * 129, lambda s, p: tasks(s).update({"a" * 129: tasks(s)["prepare"]})),
    (
        "component-ref",
        "tasks.trainer.componentRef",
        lambda s, p: tasks(s)["trainer"]["componentRef"].update(name="comp-trainr"),
    ),
    (
        "executor-label",
        "components.comp-trainer.executorLabel",
        lambda s, p: s["components"]["comp-trainer"].update(executorLabel="exec-trainr"),
    ),
    (
        "dependent-task",
        "tasks.trainer.dependentTasks",
        lambda s, p: tasks(s)["trainer"]["dependentTasks"].append("nobody"),
    ),
    (
        "dependent-task",
        "tasks.trainer.dependentTasks",
        lambda s, p: tasks(s)["trainer"]["dependentTasks"].append("trainer"),
    ),
    (
        "producer-task",
        "tasks.trainer.inputs.parameters.plan",
        lambda s, p: tasks(s)["trainer"]["inputs"]["parameters"]["plan"][
            "taskOutputParameter"
        ].update(producerTask="nobody"),
    ),
    (
        "producer-task",
        "tasks.trainer.inputs.parameters.plan",
        lambda s, p: tasks(s)["trainer"]["inputs"]["parameters"]["plan"][
            "taskOutputParameter"
        ].update(outputParameterKey="plans"),
    ),
    (
        "producer-task",
        "tasks.trainer.inputs.parameters.plan",
        lambda s, p: tasks(s)["trainer"]["dependentTasks"].remove("prepare"),
    ),
    (
        "cycle",
        "components.comp-exit-handler-1.dag",
        lambda s, p: tasks(s)["prepare"].update(dependentTasks=["result"]),
    ),
    ("exit-task", "prepare, pusher", lambda s, p: after_failures(s)),
    (
        "exit-task",
        "on-exit: waits for nothing",
        lambda s, p: root(s)["on-exit"].pop("dependentTasks"),
    ),
    (
        "exit-task",
        "on-exit: waits for exit-handler-1, as again do",
        lambda s, p: root(s).update(again=copy.deepcopy(root(s)["on-exit"])),
    ),
    (
        "exit-task",
        "statistics-gen: waits for example-gen, as",
        lambda s, p: (
            tasks(s)["statistics-gen"].update(
                dependentTasks=["example-gen"],
                inputs={"parameters": {k: {"runtimeValue": {"constant": "x"}} for k in PLANNED}},
            ),
            after_failures(s, "statistics-gen"),
            [one["dependentTasks"].remove("statistics-gen") for one in downstream(s)],
        ),
    ),
    (
        "exit-task",
        "result: takes plan from other tasks",
        lambda s, p: (tasks(s)["result"].update(dependentTasks=["prepare"]), after_failures(s)),
    ),
    (
        "exit-task",
        "task-2: waits for on-exit",
        lambda s, p: root(s).update(
            {"task-2": {**root(s)["exit-handler-1"], "dependentTasks": ["on-exit"]}}
        ),
    ),
    (
        "task-inputs",
        "tasks.trainer.inputs.parameters",
        lambda s, p: tasks(s)["trainer"]["inputs"]["parameters"].pop("plan"),
    ),
    (
        "task-inputs",
        "tasks.trainer.inputs.parameters",
        lambda s, p: tasks(s)["trainer"]["inputs"]["parameters"].update(
            more={"runtimeValue": {"constant": "x"}}
        ),
    ),
    (
        "task-inputs",
        "tasks.exit-handler-1.inputs.parameters.pipelinechannel--span",
        lambda s, p: s["root"]["inputDefinitions"]["parameters"].pop("span"),
    ),
    ("task-inputs", "components.comp-trainer.dag.tasks.inner", lambda s, p: nest(s)),
    (
        "constant",
        "tasks.prepare.inputs.parameters.span",
        lambda s, p: tasks(s)["prepare"]["inputs"]["parameters"].update(
            span={"runtimeValue": {"constant": "run {{$.pipeline_job_uuid}}"}}
        ),
    ),
    (
        "executor-kind",
        "executors.exec-trainer",
        lambda s, p: s["deploymentSpec"]["executors"].update(
            {"exec-trainer": {"resolver": {"outputArtifactQueries": {}}}}
        ),
    ),
    (
        "executor-kind",
        "executors.exec-trainer",
        lambda s, p: s["deploymentSpec"]["executors"].update({"exec-trainer": {}}),
    ),
    ("image", "exec-trainer.container.image", lambda s, p: container(s).update(image="")),
    ("image", "exec-trainer.container.image", lambda s, p: container(s).update(image="a b")),
    ("image", "exec-trainer.container.command", lambda s, p: container(s).pop("command")),
    (
        "driver-argument",
        "executors.exec-trainer.container: 1",
        lambda s, p: container(s)["args"].extend(["x" * 1000] * 131),
    ),
    (
        "driver-argument",
        "components.comp-exit-handler-1: 1",
        lambda s, p: tasks(s).update(
            {
                f"copy-{n}": {**tasks(s)["pusher"], "taskInfo": {"name": "x" * 900}}
                for n in range(99)
            }
        ),
    ),
    (
        "driver-argument",
        "deploymentSpec.executors.exec-trainer: 1",
        lambda s, p: pod(p)["podMetadata"].update(annotations={"a": "x" * MAX_ARGUMENT_BYTES}),
    ),
    (
        "constant",
        "tasks.prepare.inputs.parameters.span",
        lambda s, p: tasks(s)["prepare"]["inputs"]["parameters"].update(
            span={"runtimeValue": {"constant": "{{$.pipeline_job_date}}"}}
        ),
    ),
    (
        "template",
        "exec-trainer.container.env: '{{workflow.name}}'",
        lambda s, p: container(s)["env"].append({"name": "X", "value": "{{workflow.name}}"}),
    ),
    (
        "placeholder",
        "{{$.inputs.parameters['plam']}}",
        lambda s, p: container(s)["args"].append("{{$.inputs.parameters['plam']}}"),
    ),
    (
        "placeholder",
        "{{$.outputs.output_file}}",
        lambda s, p: container(s)["args"].append("{{$.outputs.output_file}}"),
    ),
    (
        "placeholder",
        "{{$.pipeline_job_uuid}}",
        lambda s, p: container(s)["args"].append("{{$.pipeline_job_uuid}}"),
    ),
    (
        "placeholder",
        ".file",
        lambda s, p: container(s)["args"].append("{{$.outputs.artifacts['html'].file}}"),
    ),
    (
        "template",
        "{{workflow.name}}",
        lambda s, p: container(s)["args"].append("--name={{workflow.name}}"),
    ),
    (
        "expansion",
        "exec-trainer.container.args: '$(HOME)'",
        lambda s, p: container(s)["args"].append("--to=$(HOME)/x"),
    ),
    (
        "expansion",
        "exec-trainer.container.args: '$$'",
        lambda s, p: container(s)["args"].append("pay $$"),
    ),
    (
        "caching",
        "tasks.trainer.cachingOptions",
        lambda s, p: tasks(s)["trainer"]["cachingOptions"].update(enableCache=True),
    ),
    (
        "retry-policy",
        "tasks.trainer.retryPolicy.backoffDuration",
        lambda s, p: tasks(s)["trainer"]["retryPolicy"].pop("backoffDuration"),
    ),
    (
        "retry-policy",
        "tasks.trainer.retryPolicy.backoffFactor",
        lambda s, p: tasks(s)["trainer"]["retryPolicy"].pop("backoffFactor"),
    ),
    (
        "retry-policy",
        "tasks.trainer.retryPolicy.maxRetryCount",
        lambda s, p: tasks(s)["trainer"]["retryPolicy"].pop("maxRetryCount"),
    ),
    (
        "retry-policy",
        "tasks.trainer.retryPolicy.backoffMaxDuration",
        lambda s, p: tasks(s)["trainer"]["retryPolicy"].update(backoffMaxDuration="7200s"),
    ),
    (
        "resources",
        "resource_memory_limit",
        lambda s, p: container(s)["resources"].update(resourceMemoryLimit="4 GB"),
    ),
    (
        "resources",
        "accelerator",
        lambda s, p: container(s)["resources"]["accelerator"].update(resourceCount="many"),
    ),
    (
        "environment",
        "'DB_PASSWORD' 2 times",
        lambda s, p: container(s)["env"].append({"name": "DB_PASSWORD", "value": "x"}),
    ),
    ("environment", "'2 X'", lambda s, p: container(s)["env"].append({"name": "2 X"})),
    (
        "platform",
        "platforms.docker",
        lambda s, p: p["platforms"].update(docker=p["platforms"].pop("kubernetes")),
    ),
    (
        "platform",
        "exec-nobody",
        lambda s, p: p["platforms"]["kubernetes"]["deploymentSpec"]["executors"].update(
            {"exec-nobody": pod(p)}
        ),
    ),
    (
        "platform",
        "pvcMount: '/workspace'",
        lambda s, p: pod(p)["pvcMount"].append(pod(p)["pvcMount"][0]),
    ),
]


def find_broken(text):
    try:
        return rules.broken_rules(rules_file.read_file(text), rules.RULES)
    except rules_file.BrokenRule as broken:
        return [broken]


def test_the_compiled_file_breaks_none(good):
    assert find_broken(good) == []
    rules.check(good)


@pytest.mark.parametrize(
    ("rule", "where", "damage"), BROKEN, ids=[f"{n}-{b[0]}" for n, b in enumerate(BROKEN)]
)
def test_a_broken_file_is_refused_for_its_own_rule(documents, rule, where, damage):
    damage(*documents)
    broken = find_broken(dump(documents))
    assert {one.rule for one in broken} == {rule}
    assert any(where in str(one) for one in broken)


def test_every_rule_has_a_broken_file():
    # From the code, so that a new rule requires a file above. Parsing has rules of its own.
    names = {rules.name_of(rule) for rule in rules.RULES}
    names |= {"pipeline-spec", "platform-spec", "schema-version"}
    assert names - {rule for rule, _, _ in BROKEN} == {"argument-size"}
    documented = (Path(__file__).parents[4] / "docs/kubeflow-compile.md").read_text()
    assert all(f"\n| `{name}` |" in documented for name in names)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "0 documents (nothing)"),
        ("- a\n", "1 documents (list)"),
        ("a: 1\n---\nb: 1\n---\nc: 1\n", "3 documents"),
        ("a: [1\n", "must be YAML"),
        ("a: 1\na: 2\n", "holds the key 'a' twice"),
        ("a: &x [1]\nb: *x\n", "holds an alias"),
        ("a: !!python/object/apply:os.getpid []\n", "could not determine a constructor"),
    ],
)
def test_what_is_no_two_documents_is_refused(text, problem):
    (broken,) = find_broken(text)
    assert broken.rule == "documents"
    assert problem in str(broken)


def test_a_file_that_is_too_large_for_etcd_is_refused(good):
    padding = rules_file.MAX_FILE_BYTES - len(good.encode())
    assert find_broken(good + "#" * padding) == []
    (broken,) = find_broken(good + "#" * (padding + 1))
    assert broken.rule == "file-size"
    assert str(rules_file.MAX_FILE_BYTES) in str(broken)


@pytest.mark.parametrize("place", ["args", "env"])
def test_an_argument_that_the_kernel_does_not_take_is_refused(documents, place):
    # Its container is then too much for the driver as well, a little earlier even.
    word = "x" * MAX_ARGUMENT_BYTES
    more = {"name": "X", "value": word} if place == "env" else word
    container(documents[0])[place].append(more)
    broken = find_broken(dump(documents))
    assert {one.rule for one in broken} == {"argument-size", "driver-argument"}
    assert f"exec-trainer.container.{place}: 131" in str(broken[0])


def test_a_text_with_a_parameter_in_it_is_the_launchers(documents):
    constant = {"constant": "until {{$.inputs.parameters['pipelinechannel--span']}}"}
    tasks(documents[0])["prepare"]["inputs"]["parameters"]["span"] = {"runtimeValue": constant}
    assert find_broken(dump(documents)) == []


def test_an_argument_of_nearly_the_largest_size_is_taken(documents):
    container(documents[0])["args"].append("x" * (MAX_ARGUMENT_BYTES - 2000))
    assert find_broken(dump(documents)) == []


def test_all_broken_rules_are_reported_at_once(documents):
    documents[0]["pipelineInfo"]["name"] = "Toy"
    tasks(documents[0])["trainer"]["cachingOptions"]["enableCache"] = True
    with pytest.raises(ConfigError) as caught:
        rules.check(dump(documents))
    lines = caught.value.message.splitlines()
    assert lines[1].startswith("rule pipeline-name: pipelineInfo.name: 'Toy'; lower-case letters")
    assert lines[2].startswith(
        "rule caching: components.comp-exit-handler-1.dag.tasks.trainer.cachingOptions.enableCache"
    )
