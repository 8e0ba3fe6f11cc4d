"""The manifests: kubectl builds each overlay, and each object is held to Kubernetes' own types."""

import copy
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from kubernetes_objects import (
    KUSTOMIZE,
    build,
    kustomize_version,
    pod_of,
    problems,
    restricted_problems,
)

from ordain.serving.registry.manifests import (
    kserve_manifest,
    kubernetes_manifest,
    server_arguments,
)

ROOT = Path(__file__).parents[3]
MANIFESTS = ROOT / "kubeflow" / "manifests"
PROD = ROOT / "examples" / "flights" / "pipeline.prod.yaml"
FOLDERS = sorted(path.parent for path in MANIFESTS.rglob("kustomization.yaml"))
#: Secrets that the user makes by hand, as docs/kubeflow.md says.
SECRETS = {"ordain-database", "ordain-serving"}

pytestmark = pytest.mark.skipif(
    kustomize_version() < KUSTOMIZE and not os.environ.get("ORDAIN_TEST_ALL"),
    reason="needs kubectl 1.27 or newer: apt-get install kubernetes-client (Debian 13)",
)


@pytest.fixture(scope="module")
def built() -> dict[str, list[dict[str, Any]]]:
    """Every kustomization's objects, by the folder's name."""
    assert kustomize_version() >= KUSTOMIZE, f"kubectl's kustomize is {kustomize_version()}"
    return {folder.name: build(folder) for folder in FOLDERS}


@pytest.fixture
def find(built) -> Callable[..., dict[str, Any]]:
    """The one object of a kind and name in an overlay."""

    def one(overlay: str, kind: str, name: str) -> dict[str, Any]:
        found = [d for d in built[overlay] if d["kind"] == kind and d["metadata"]["name"] == name]
        assert len(found) == 1, (overlay, kind, name)
        return copy.deepcopy(found[0])

    return one


def test_overlays_are_these():
    assert [folder.name for folder in FOLDERS] == [
        "base",
        "external-database",
        "serve-kserve",
        "serve-ordain",
        "serve-tensorflow",
        "shell",
        "single-node",
    ]


@pytest.mark.parametrize("overlay", [folder.name for folder in FOLDERS])
def test_objects_are_kubernetes_own(built, overlay):
    assert built[overlay]
    for document in built[overlay]:
        assert problems(document) == []
        assert document["metadata"]["namespace"] == "kubeflow"
        assert document["metadata"]["labels"]["app.kubernetes.io/part-of"] == "ordain"


@pytest.mark.parametrize("overlay", [folder.name for folder in FOLDERS])
def test_pods_are_restricted(built, overlay):
    for document in built[overlay]:
        if made := pod_of(document):
            assert restricted_problems(made[0]) == []
            # A token that nothing uses is one to steal.
            assert made[0]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("overlay", [folder.name for folder in FOLDERS])
def test_pods_have_limits_and_probes(built, overlay):
    for document in built[overlay]:
        if not (made := pod_of(document)):
            continue
        for container in made[0]["containers"]:
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys()
            assert "memory" in resources["limits"]
            # KServe's runtime brings its own, and a person sees for himself.
            if document["kind"] not in ("InferenceService", "Pod"):
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


@pytest.mark.parametrize("overlay", [folder.name for folder in FOLDERS])
def test_names_within_an_overlay_meet(built, overlay):
    documents = built[overlay]
    pods = [made for document in documents if (made := pod_of(document))]
    for pod, labels in pods:
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for document in documents:
            if pod_of(document) and pod_of(document)[1] == labels:
                templates = document["spec"].get("volumeClaimTemplates", [])
                volumes |= {template["metadata"]["name"] for template in templates}
        for container in pod["containers"]:
            assert {m["name"] for m in container.get("volumeMounts", [])} <= volumes
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] in ("Deployment", "StatefulSet"):
            labels = spec["template"]["metadata"]["labels"]
            assert spec["selector"]["matchLabels"].items() <= labels.items()
        if document["kind"] == "Service":
            selected = [p for p, labels in pods if spec["selector"].items() <= labels.items()]
            ports = {p["name"] for pod in selected for c in pod["containers"] for p in c["ports"]}
            assert {port["targetPort"] for port in spec["ports"]} <= ports
        if document["kind"] == "PodDisruptionBudget":
            assert any(
                spec["selector"]["matchLabels"].items() <= labels.items() for _, labels in pods
            )


def test_no_secret_is_in_the_files(built):
    for documents in built.values():
        for document in documents:
            assert document["kind"] not in ("Secret", "ConfigMap")
            pod = (pod_of(document) or ({"containers": []}, {}))[0]
            for container in pod["containers"]:
                for variable in container.get("env", []):
                    name = variable["name"]
                    if "valueFrom" in variable:
                        assert variable["valueFrom"]["secretKeyRef"]["name"] in SECRETS
                    elif re.search("PASSWORD|TOKEN|SECRET", name):
                        assert name.endswith("_FILE")
            named = {v["secret"]["secretName"] for v in pod.get("volumes", []) if "secret" in v}
            assert named <= SECRETS
    for path in MANIFESTS.rglob("*"):
        if path.is_file():
            # What keys, hashes and tokens look like.
            assert not re.search(r"(?=[A-Za-z+]*\d)[A-Za-z0-9+]{24,}", path.read_text())


def test_nothing_reaches_the_pods_without_a_rule(find):
    deny = find("base", "NetworkPolicy", "ordain-deny")["spec"]
    assert deny["podSelector"]["matchLabels"] == {"app.kubernetes.io/part-of": "ordain"}
    assert sorted(deny["policyTypes"]) == ["Egress", "Ingress"]
    assert "ingress" not in deny and "egress" not in deny


def test_each_pod_falls_under_the_denial(built):
    for overlay, documents in built.items():
        for document in documents:
            if (made := pod_of(document)) and document["kind"] != "InferenceService":
                assert made[1]["app.kubernetes.io/part-of"] == "ordain", overlay


def test_database_is_reached_by_tasks_only(find):
    tasks = yaml.safe_load(PROD.read_text())["kubeflow"]["labels"]
    policy = find("base", "NetworkPolicy", "ordain-database")["spec"]
    (rule,) = policy["ingress"]
    assert [port["port"] for port in rule["ports"]] == [5432]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"].items() <= tasks.items()
    assert not policy.get("egress")
    labels = pod_of(find("base", "StatefulSet", "ordain-database"))[1]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()


def test_tasks_reach_what_they_need_and_no_more(find):
    tasks = yaml.safe_load(PROD.read_text())["kubeflow"]["labels"]
    policy = find("base", "NetworkPolicy", "ordain-tasks")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= tasks.items()
    for rule in policy["egress"]:
        assert rule["to"] and rule["ports"]  # neither everywhere nor every port
        for peer in rule["to"]:
            assert peer.get("ipBlock", {}).get("cidr") != "0.0.0.0/0"
            # An empty selector is everybody.
            assert all(peer.values())
    ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert ports == {53, 5432, 8887, 8888, 8080, 9000, 8333, 443, 6443}


def test_account_may_do_little(find):
    role = find("base", "Role", "ordain")
    for rule in role["rules"]:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        if set(rule["resources"]) & {"secrets", "configmaps"}:
            assert rule["resourceNames"]
    verbs = {(r, v) for rule in role["rules"] for r in rule["resources"] for v in rule["verbs"]}
    changing = {(r, v) for r, v in verbs if v not in ("get", "list", "watch")}
    assert changing == {("workflowtaskresults", "create"), ("workflowtaskresults", "patch")}
    binding = find("base", "RoleBinding", "ordain")
    assert binding["roleRef"]["name"] == "ordain"
    (subject,) = binding["subjects"]
    account = find("base", "ServiceAccount", "ordain")["metadata"]
    assert (subject["name"], subject["namespace"]) == (account["name"], account["namespace"])


def test_overlay_of_the_project_names_what_is_there(find):
    kubeflow = yaml.safe_load(PROD.read_text())["kubeflow"]
    assert find("base", "ServiceAccount", kubeflow["service_account"])
    for volume in kubeflow["volumes"]:
        assert find("base", "PersistentVolumeClaim", volume["claim"])
    pod = pod_of(find("base", "StatefulSet", "ordain-database"))[0]
    secret = next(v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v)
    (reference,) = kubeflow["secrets"]
    assert (reference["name"], reference["key"]) == (secret, "password")
    environment = {v["name"]: v["value"] for v in pod["containers"][0]["env"]}
    assert environment["POSTGRES_PASSWORD_FILE"].endswith("/password")
    service = find("base", "Service", "ordain-database")
    address = f"{environment['POSTGRES_USER']}:${{env:{reference['env']}}}"
    address += f"@{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    metadata = yaml.safe_load(PROD.read_text())["metadata"]
    assert metadata == f"postgresql://{address}/{environment['POSTGRES_DB']}"


def test_shell_has_what_the_tasks_have(find):
    prod = yaml.safe_load(PROD.read_text())["kubeflow"]
    document = find("shell", "Pod", "ordain-shell")
    pod, labels = pod_of(document)
    assert prod["labels"].items() <= labels.items()
    (container,) = pod["containers"]
    claims = {
        v["name"]: v["persistentVolumeClaim"]["claimName"]
        for v in pod["volumes"]
        if "persistentVolumeClaim" in v
    }
    mounted = [
        {"claim": claims[m["name"]], "path": m["mountPath"]}
        for m in container["volumeMounts"]
        if m["name"] in claims
    ]
    assert mounted == prod["volumes"]
    named = [{"env": v["name"], **v["valueFrom"]["secretKeyRef"]} for v in container["env"]]
    assert named == prod["secrets"]


def test_every_pod_has_the_project_s_image(find):
    image = yaml.safe_load(PROD.read_text())["kubeflow"]["image"]
    for overlay, kind, name in (
        ("shell", "Pod", "ordain-shell"),
        ("serve-ordain", "Deployment", "ordain-serve"),
    ):
        pod = pod_of(find(overlay, kind, name))[0]
        assert [container["image"] for container in pod["containers"]] == [image]


def test_one_machine_gets_claims_it_can_have(built):
    for overlay, mode in (("base", "ReadWriteMany"), ("single-node", "ReadWriteOnce")):
        claims = [d for d in built[overlay] if d["kind"] == "PersistentVolumeClaim"]
        assert len(claims) == 2
        assert all(claim["spec"]["accessModes"] == [mode] for claim in claims)


def test_external_database_is_not_run_here(built, find):
    assert not [d for d in built["external-database"] if pod_of(d)]
    rules = find("external-database", "NetworkPolicy", "ordain-tasks")["spec"]["egress"]
    (database,) = [rule for rule in rules if rule["ports"][0]["port"] == 5432]
    assert [list(peer) for peer in database["to"]] == [["ipBlock"]]


def test_tensorflow_serving_starts_like_emit(find):
    pod = pod_of(find("serve-tensorflow", "Deployment", "tensorflow-serving"))[0]
    assert pod["containers"][0]["args"] == server_arguments()
    emitted = next(iter(yaml.safe_load_all(kubernetes_manifest("flights", "ordain-workspace"))))
    theirs = emitted["spec"]["template"]["spec"]["containers"][0]
    ours = pod["containers"][0]
    for key in ("startupProbe", "readinessProbe", "livenessProbe", "ports", "command"):
        assert ours[key] == theirs[key]
    assert ours["image"].endswith(theirs["image"])


def test_kserve_starts_as_emit_says(find):
    emitted = yaml.safe_load(kserve_manifest("flights", "ordain-workspace/serving/flights"))
    model = find("serve-kserve", "InferenceService", "flights")["spec"]["predictor"]["model"]
    theirs = emitted["spec"]["predictor"]["model"]
    assert {key: model[key] for key in theirs} == theirs


def test_ordain_serve_gets_existing_options(find):
    from ordain.cli.main import cli
    from ordain.cli.serve import serve

    container = pod_of(find("serve-ordain", "Deployment", "ordain-serve"))[0]["containers"][0]
    assert container["command"][:2] == ["ordain", "serve"]
    words = container["command"][2:] + container["args"]
    parent = click.Context(cli, **cli.context_settings)
    given = serve.make_context("serve", list(words), parent=parent).params
    assert given["host"] == "0.0.0.0"
    assert given["env"] == "prod"
    mounts = {m["mountPath"] for m in container["volumeMounts"]}
    assert str(Path(given["token_file"]).parent) in mounts
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    assert (ports["rest"], ports["grpc"]) == (given["rest_port"], given["grpc_port"])


def _change(document: dict[str, Any], path: str, value: Any) -> None:
    """Sets the value at a path such as `spec.template.0.name`; Ellipsis removes it."""
    *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    here: Any = document
    for part in parents:
        here = here[part]
    if value is ...:
        del here[last]
    else:
        here[last] = value


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("spec.replica", 1, "replica: no such field"),
        ("spec.replicas", "1", "'1' is no int"),
        ("spec.serviceName", 5, "5 is no str"),
        ("spec.selector", ..., "selector"),
        ("spec.template.spec.containers.0.name", ..., "name"),
        ("spec.template.spec.containers.0.ports.0.containerPort", "5432", "is no int"),
        ("spec.template.spec.containers.0.resources.requests.cpu", 1, "1 is no str"),
        ("spec.template.spec.containers.0.readinessProbe.tcpSocket", {"port": True}, "neither"),
        ("spec.template.spec.automountServiceAccountToken", 0, "0 is no bool"),
        ("spec.template.spec.volumes", {"name": "x"}, "is no list"),
        ("kind", "StatefullSet", "not a kind"),
    ],
)
def test_wrong_objects_are_reported(find, path, value, said):
    document = find("base", "StatefulSet", "ordain-database")
    assert problems(document) == []
    _change(document, path, value)
    assert [problem for problem in problems(document) if said in problem]


def test_wrong_inference_service_is_reported(find):
    document = find("serve-kserve", "InferenceService", "flights")
    _change(document, "spec.predictor.model.modelFormatt", {"name": "tensorflow"})
    assert "no such field" in problems(document)[0]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("securityContext.runAsNonRoot", ...),
        ("securityContext.runAsUser", 0),
        ("securityContext.seccompProfile", {"type": "Unconfined"}),
        ("hostNetwork", True),
        ("volumes.0", {"name": "host", "hostPath": {"path": "/"}}),
        ("containers.0.securityContext.allowPrivilegeEscalation", ...),
        ("containers.0.securityContext.capabilities.drop", ["NET_RAW"]),
        ("containers.0.securityContext.capabilities.add", ["SYS_ADMIN"]),
        ("containers.0.securityContext.readOnlyRootFilesystem", False),
        ("containers.0.securityContext.privileged", True),
        ("containers.0.securityContext.runAsNonRoot", False),
    ],
)
def test_loose_pods_are_reported(find, path, value):
    pod = pod_of(find("base", "StatefulSet", "ordain-database"))[0]
    assert restricted_problems(pod) == []
    _change(pod, path, value)
    assert len(restricted_problems(pod)) == 1
