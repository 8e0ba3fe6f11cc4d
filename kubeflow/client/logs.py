"""What a task's pods wrote: from the KFP API, else from Kubernetes.

The KFP API reads a pod's log while the pod exists, and the archived log after that where the
server keeps one (`/apis/v1alpha1/runs/{run}/nodes/{pod}/log`; not behind the UI's address).
Where it cannot, the pod is asked for at Kubernetes itself, if there is a kubeconfig.
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
#: Where pods of a server of one user are, unless told otherwise.
SYSTEM_NAMESPACE = "kubeflow"
#: How much of a log's end is looked through for the exit code.
TAIL_BYTES = 65_536
_PIECE_BYTES = 65_536
#: The KFP launcher's last words in a task's log (backend/src/v2/cmd/launcher-v2).
_EXIT_STATUS = re.compile(rb"failed to execute component: exit status (\d{1,3})")


def read_log(server: Server, run: Run, pod: str) -> Iterator[bytes]:
    """The log of one pod, in pieces.

    Args:
        server: Where the run is.
        run: The run.
        pod: Name of one of its tasks' pods.

    Raises:
        InfrastructureError: Neither the KFP API nor Kubernetes has it; says why for each.
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
            f"the log of {pod} is not to be had.\n  KFP: {api.message}\n  Kubernetes: {error}",
            f"kubectl -n {namespace} logs {pod} -c {CONTAINER}; each node's log is also in the "
            f"run's folder, runs/{run.id}/logs in the workspace",
        ) from error


def read_exit_code(server: Server, run: Run, task: Task) -> int | None:
    """The exit code of a task's last try, as the KFP launcher wrote it.

    The API tells that a task failed, not with what code.

    Returns:
        The code; None where it cannot be known.
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
    """The end of what comes in pieces; never holds much more."""
    end = b""
    for piece in pieces:
        end = (end + piece)[-limit_bytes:]
    return end


class _UnavailableError(Exception):
    """Kubernetes cannot be asked, or does not have it; the text says which."""


def _from_kubernetes(pod: str, namespace: str) -> Iterator[bytes]:
    kubeconfig = _kubeconfig()
    if kubeconfig is None:
        raise _UnavailableError("there is no kubeconfig (KUBECONFIG, ~/.kube/config)")
    from kubernetes import client, config  # noqa: PLC0415  takes seconds
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        configuration = client.Configuration()
        # Named, because the library looks at KUBECONFIG once, when it is imported.
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
        told = quote(error.body) or quote(error.reason)
        raise _UnavailableError(f"{error.status} in namespace {namespace}: {told}") from error
    except (HTTPError, config.ConfigException, OSError) as error:
        raise _UnavailableError(quote(getattr(error, "reason", None) or error)) from error


def _kubeconfig() -> str | None:
    """The files that kubectl would read, if there are any; several stand as in KUBECONFIG."""
    named = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    found = [name for name in named.split(os.pathsep) if name and Path(name).is_file()]
    return os.pathsep.join(found) or None
