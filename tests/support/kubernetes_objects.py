"""Kubernetes objects held to their types: every field known, every value of the right form.

The types are the models of the `kubernetes` package, which are generated from Kubernetes' own
OpenAPI description, and check required fields and enumerations when they are made. KServe's
InferenceService is not among them; `INFERENCE_SERVICE` lists the fields of its API
(serving.kserve.io/v1beta1) that we use.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes.client
import yaml

#: The first that knows all that the manifests use (patches, labels with includeTemplates).
KUSTOMIZE = (5, 0)
#: apiVersion and kind -> the model.
KINDS = {
    ("v1", "ServiceAccount"): "V1ServiceAccount",
    ("v1", "Service"): "V1Service",
    ("v1", "Pod"): "V1Pod",
    ("v1", "PersistentVolumeClaim"): "V1PersistentVolumeClaim",
    ("apps/v1", "StatefulSet"): "V1StatefulSet",
    ("apps/v1", "Deployment"): "V1Deployment",
    ("policy/v1", "PodDisruptionBudget"): "V1PodDisruptionBudget",
    ("networking.k8s.io/v1", "NetworkPolicy"): "V1NetworkPolicy",
    ("rbac.authorization.k8s.io/v1", "Role"): "V1Role",
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): "V1RoleBinding",
}
#: Field -> its type, in the form of the models; a dict is an object with these fields.
INFERENCE_SERVICE: dict[str, Any] = {
    "apiVersion": "str",
    "kind": "str",
    "metadata": "V1ObjectMeta",
    "spec": {
        "predictor": {
            "minReplicas": "int",
            "maxReplicas": "int",
            # Its PodSpec is Kubernetes', inline; so is the container of its model.
            "automountServiceAccountToken": "bool",
            "securityContext": "V1PodSecurityContext",
            "model": {
                "modelFormat": {"name": "str", "version": "str"},
                "runtime": "str",
                "runtimeVersion": "str",
                "storageUri": "str",
                "args": "list[str]",
                "resources": "V1ResourceRequirements",
                "securityContext": "V1SecurityContext",
            },
        }
    },
}
_PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "datetime": str}


def kustomize_version() -> tuple[int, ...]:
    """The version of kustomize in `kubectl`; empty if there is none."""
    if shutil.which("kubectl") is None:
        return ()
    command = ["kubectl", "version", "--client"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Kustomize Version: v(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, found.groups())) if found else (0,)


def build(folder: Path) -> list[dict[str, Any]]:
    """The objects that `kubectl apply -k FOLDER` would send."""
    command = ["kubectl", "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # A deprecated field is a warning.
    assert not done.stderr, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def problems(document: dict[str, Any]) -> list[str]:
    """What the API server would refuse in an object, or drop; empty if nothing."""
    key = (document.get("apiVersion"), document.get("kind"))
    if key == ("serving.kserve.io/v1beta1", "InferenceService"):
        return _fields(document, INFERENCE_SERVICE, "InferenceService")
    if key not in KINDS:
        return [f"{key[0]} {key[1]}: not a kind that is known here"]
    return _problems(document, KINDS[key], str(key[1]))


def _problems(value: Any, kind: str, where: str) -> list[str]:
    if kind in _PLAIN:
        # A bool is an int in Python, and none in Kubernetes.
        fits = isinstance(value, _PLAIN[kind]) and (kind == "bool" or not isinstance(value, bool))
        return [] if fits else [f"{where}: {value!r} is no {kind}"]
    if kind == "object":  # IntOrString, the one use of it in these kinds
        fits = isinstance(value, int | str) and not isinstance(value, bool)
        return [] if fits else [f"{where}: {value!r} is neither a number nor a text"]
    if inner := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no list"]
        return [p for i, v in enumerate(value) for p in _problems(v, inner[1], f"{where}[{i}]")]
    if inner := re.fullmatch(r"dict\(str, (.+)\)|dict\[str, (.+)\]", kind):
        if not isinstance(value, dict):
            return [f"{where}: {value!r} is no mapping"]
        of = inner[1] or inner[2]
        return [p for k, v in value.items() for p in _problems(v, of, f"{where}.{k}")]
    model = getattr(kubernetes.client, kind)
    names = {json: name for name, json in model.attribute_map.items()}
    fields = {json: model.openapi_types[name] for json, name in names.items()}
    found = _fields(value, fields, where)
    if not found:
        try:
            model(**{names[key]: item for key, item in value.items()})
        except ValueError as error:  # a required field, or a value that is none of an enumeration
            found = [f"{where}: {error}"]
    return found


def _fields(value: Any, fields: dict[str, Any], where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: {value!r} is no object"]
    found = [f"{where}.{key}: no such field" for key in value if key not in fields]
    for key, item in value.items():
        kind = fields.get(key)
        if isinstance(kind, dict):
            found += _fields(item, kind, f"{where}.{key}")
        elif kind is not None:
            found += _problems(item, kind, f"{where}.{key}")
    return found


def pod_of(document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]] | None:
    """The pod that an object makes, and its labels; None if it makes none.

    An InferenceService's model is its container, as KServe makes it.
    """
    if document["kind"] == "InferenceService":
        predictor = document["spec"]["predictor"]
        pod = {k: v for k, v in predictor.items() if k != "model"}
        labels = {"serving.kserve.io/inferenceservice": document["metadata"]["name"]}
        return pod | {"containers": [predictor["model"]]}, labels
    if document["kind"] == "Pod":
        return document["spec"], document["metadata"]["labels"]
    if document["kind"] not in ("Deployment", "StatefulSet"):
        return None
    template = document["spec"]["template"]
    return template["spec"], template["metadata"]["labels"]


def restricted_problems(pod: dict[str, Any]) -> list[str]:
    """What Pod Security's profile `restricted` refuses in a pod, and a writable root."""
    found = []
    context = pod.get("securityContext", {})
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            found.append(f"{key} is set")
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"}
    allowed |= {"persistentVolumeClaim", "projected", "secret"}
    for volume in pod.get("volumes", []):
        found += [f"volume {kind}" for kind in volume.keys() - {"name"} - allowed]
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        own = container.get("securityContext", {})
        both = context | own
        if both.get("runAsNonRoot") is not True:
            found.append("runAsNonRoot is not true")
        if not both.get("runAsUser", 0) > 0:
            found.append("runAsUser is root's, or the image's")
        if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            found.append("seccompProfile is not RuntimeDefault")
        if own.get("privileged"):
            found.append("privileged is set")
        if own.get("allowPrivilegeEscalation") is not False:
            found.append("allowPrivilegeEscalation is not false")
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []):
            found.append("capabilities are not dropped")
        if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            found.append("capabilities are added")
        if own.get("readOnlyRootFilesystem") is not True:
            found.append("the root file system is writable")
    return found
