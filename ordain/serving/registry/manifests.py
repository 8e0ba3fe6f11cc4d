"""Compose file and Kubernetes manifests for TensorFlow Serving on a serving directory.

They mount the directory read-only at `tensorflow_serving.CONTAINER_BASE` and start
`tensorflow_model_server` on `container.config`, which follows pushes, promotions and rollbacks
without a restart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ordain.serving.registry.tensorflow_serving import (
    BATCHING_FILE,
    CONTAINER_BASE,
    CONTAINER_FILE,
    FOLDER,
    POLL_S,
)

#: The newest release with an image; TensorFlow reads SavedModels of newer minor versions unless
#: they use an operation that it lacks.
IMAGE = "tensorflow/serving:2.19.1"
GRPC_PORT = 8500
REST_PORT = 8501
#: Returns 200 once the stable version is loaded.
_STATUS_PATH = "/v1/models/{name}/labels/stable"


def server_arguments() -> list[str]:
    """Arguments of `tensorflow_model_server` in a container."""
    folder = f"{CONTAINER_BASE}/{FOLDER}"
    return [
        f"--port={GRPC_PORT}",
        f"--rest_api_port={REST_PORT}",
        f"--model_config_file={folder}/{CONTAINER_FILE}",
        f"--model_config_file_poll_wait_seconds={POLL_S}",
        # A fresh server reads the labels before their versions are loaded.
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_batching=true",
        f"--batching_parameters_file={folder}/{BATCHING_FILE}",
    ]


def compose_file(name: str, base: str | Path) -> str:
    """Makes a compose file with one TensorFlow Serving, on this machine's loopback only.

    Args:
        name: The project's name.
        base: The serving directory.
    """
    service = {
        "image": IMAGE,
        "entrypoint": ["/usr/bin/tensorflow_model_server"],
        "command": server_arguments(),
        "ports": [f"127.0.0.1:{port}:{port}" for port in (GRPC_PORT, REST_PORT)],
        "volumes": [
            {
                "type": "bind",
                "source": str(Path(base).absolute()),
                "target": CONTAINER_BASE,
                "read_only": True,
            }
        ],
        "read_only": True,
        "security_opt": ["no-new-privileges:true"],
        "restart": "unless-stopped",
    }
    return _yaml({"name": f"{name}-serving", "services": {"tensorflow-serving": service}})


def kubernetes_manifest(name: str, claim: str) -> str:
    """Makes a Deployment and its Service for a serving directory on a persistent volume.

    Args:
        name: Name of the project and of the objects.
        claim: The PersistentVolumeClaim whose root is the serving directory.
    """
    return "---\n".join(_yaml(document) for document in (_deployment(name, claim), _service(name)))


def _deployment(name: str, claim: str) -> dict[str, Any]:
    probe = {"httpGet": {"path": _STATUS_PATH.format(name=name), "port": "rest"}}
    container = {
        "name": "tensorflow-serving",
        "image": IMAGE,
        "command": ["/usr/bin/tensorflow_model_server"],
        "args": server_arguments(),
        "ports": [
            {"name": "grpc", "containerPort": GRPC_PORT},
            {"name": "rest", "containerPort": REST_PORT},
        ],
        "volumeMounts": [{"name": "models", "mountPath": CONTAINER_BASE, "readOnly": True}],
        "startupProbe": {**probe, "periodSeconds": 2, "failureThreshold": 60},
        "readinessProbe": {**probe, "periodSeconds": 5},
        "livenessProbe": {"tcpSocket": {"port": "grpc"}, "periodSeconds": 10},
        "resources": {
            "requests": {"cpu": "500m", "memory": "512Mi"},
            "limits": {"memory": "2Gi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "metadata": {"labels": _selector(name)},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [container],
            "volumes": [
                {
                    "name": "models",
                    "persistentVolumeClaim": {"claimName": claim, "readOnly": True},
                }
            ],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": _selector(name)},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": _selector(name)},
            "template": pod,
        },
    }


def _service(name: str) -> dict[str, Any]:
    ports = [
        {"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc"},
        {"name": "rest", "port": REST_PORT, "targetPort": "rest"},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": _selector(name)},
        "spec": {"selector": _selector(name), "ports": ports},
    }


def kserve_manifest(name: str, claim: str) -> str:
    """Makes KServe's InferenceService for a serving directory on a persistent volume.

    Args:
        name: Name of the project and of the object.
        claim: The PersistentVolumeClaim of the serving directory; behind a `/` the folder in it.
    """
    # KServe mounts the claim at CONTAINER_BASE (`enableDirectPvcVolumeMount`) and appends these
    # arguments to those of its runtime. With --model_config_file the server ignores the runtime's
    # --model_base_path.
    ours = [a for a in server_arguments() if not a.startswith(("--port=", "--rest_api_port="))]
    model = {
        "modelFormat": {"name": "tensorflow"},
        # The runtime's default image is years older than the models.
        "runtimeVersion": IMAGE.rpartition(":")[2],
        "storageUri": f"pvc://{claim}",
        "args": ours,
    }
    return _yaml(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": name},
            "spec": {"predictor": {"model": model}},
        }
    )


def _selector(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "ordain"}


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False)
