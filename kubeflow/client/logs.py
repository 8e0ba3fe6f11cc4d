"""Reads the logs of a task's pods from the KFP API, or else from Kubernetes.

The KFP API returns a pod's log while the pod exists, and later the archived log if the server has
one (`/apis/v1alpha1/runs/{run}/nodes/{pod}/log`; not available at the UI's address). If that
fails, the log is read from Kubernetes, provided there is a kubeconfig.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ordain.errors import InfrastructureError, OrdainError
from ordain.kubeflow.client.errors import quote
from ordain.kubeflow.client.runs import Run, Task
from ordain.kubeflow.client.server import CONNECT_S, READ_S, Server

LOG_PATH = "/apis/v1alpha1/runs/{run_id}/nodes/{node_id}/log"
#: Container of a pod that runs the task; the others are Argo's.
CONTAINER = "main"
#: Default namespace of the pods of a single-user server.
SYSTEM_NAMESPACE = "kubeflow"
#: Bytes at the end of a log that are searched for the exit code.
TAIL_BYTES = 65_536
_PIECE_BYTES = 65_536
#: The KFP launcher's last words in a task's log (backend/src/v2/cmd/launcher-v2).
_EXIT_STATUS = re.compile(rb"failed to execute component: exit status (\d{1,3})")


def read_log(server: Server, run: Run, pod: str) -> Iterator[bytes]:
    """Reads the log of one pod in pieces.

    Args:
        server: Where the run is.
        run: The run.
        pod: Name of one of its tasks' pods.

    Raises:
        InfrastructureError: Neither the KFP API nor Kubernetes returns it; the message has both
            reasons.
    """
    try:
        pieces = server.stream(f"reading the log of {pod}", LOG_PATH, run_id=run.id, node_id=pod)
        first = next(pieces, b"")
    except OrdainError as error:
        api = error
    else:
        yield first
        yield from pieces
        return
    namespace = server.connection.namespace or SYSTEM_NAMESPACE
    try:
        yield from _from_kubernetes(pod, namespace)
    except _UnavailableError as error:
        raise InfrastructureError(
            f"could not fetch the log of {pod}\n  KFP: {api.message}\n  Kubernetes: {error}",
            f"kubectl -n {namespace} logs {pod} -c {CONTAINER}; each node's log is also in the "
            f"run's folder, runs/{run.id}/logs in the workspace",
        ) from error


def read_exit_code(server: Server, run: Run, task: Task) -> int | None:
    """Reads the exit code of a task's last attempt from the KFP launcher's log line.

    The API reports that a task failed, but not the exit code.

    Returns:
        The code; None if it is unknown.
    """
    if not task.pods:
        return None
    try:
        end = tail(read_log(server, run, task.pods[-1]))
    except OrdainError:
        return None
    found = _EXIT_STATUS.findall(end)
    return int(found[-1]) if found else None


def tail(pieces: Iterable[bytes], limit_bytes: int = TAIL_BYTES) -> bytes:
    """Returns the last bytes of a stream without holding much more."""
    end = b""
    for piece in pieces:
        end = (end + piece)[-limit_bytes:]
    return end


class _UnavailableError(Exception):
    """Kubernetes cannot be reached or does not have the log; the text says which."""


def _from_kubernetes(pod: str, namespace: str) -> Iterator[bytes]:
    kubeconfig = _kubeconfig()
    if kubeconfig is None:
        raise _UnavailableError("there is no kubeconfig (KUBECONFIG, ~/.kube/config)")
    from kubernetes import client, config  # noqa: PLC0415  takes seconds
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        configuration = client.Configuration()
        # Passed explicitly, because the library reads KUBECONFIG only at import.
        config.load_kube_config(kubeconfig, client_configuration=configuration)
        configuration.retries = 1
        core = client.CoreV1Api(client.ApiClient(configuration))
        response: Any = core.read_namespaced_pod_log(
            pod,
            namespace,
            container=CONTAINER,
            _preload_content=False,
            _request_timeout=(CONNECT_S, READ_S),
        )
        yield from response.stream(_PIECE_BYTES)
    except client.ApiException as error:
        said = quote(error.body) or quote(error.reason)
        raise _UnavailableError(f"{error.status} in namespace {namespace}: {said}") from error
    except (HTTPError, config.ConfigException, OSError) as error:
        raise _UnavailableError(quote(getattr(error, "reason", None) or error)) from error


def _kubeconfig() -> str | None:
    """The files that kubectl would read, joined as in KUBECONFIG; None if there are none."""
    named = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    found = [name for name in named.split(os.pathsep) if name and Path(name).is_file()]
    return os.pathsep.join(found) or None
