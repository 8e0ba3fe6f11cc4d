"""The contract between the compiled file and the pod: tasks, run parameters, command lines.

`ordain.kubeflow.compiler.compiler` writes these command lines and `ordain.kubeflow.pod.entrypoint`
reads them. Nothing here imports KFP, TFX or TensorFlow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

#: The command of every container; the next word is the kind of task.
ENTRYPOINT = ("python", "-m", "ordain.kubeflow.pod.entrypoint")
#: Tasks beside the nodes: before all nodes, after all nodes have succeeded, and at the end
#: whether they succeeded or failed.
PREPARE = "prepare"
RESULT = "result"
ON_EXIT = "on-exit"
#: Name of the group of all tasks but the last, in KFP's pages.
GROUP = "pipeline"
#: Run parameters, all of type string; empty: the newest span, no settings.
SPAN = "span"
SETTINGS = "settings"
PIPELINE_ROOT = "pipeline_root"
RUN_PARAMETERS = (SPAN, SETTINGS, PIPELINE_ROOT)
#: An input of every task: Kubeflow's id of the run.
RUN_ID = "run_id"
#: Output of `prepare` that all other tasks take.
PLAN = "plan"


def task_name(node: str) -> str:
    """A node's task name in Argo's and Kubernetes' syntax: `ExampleGen` -> `example-gen`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", node)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def as_argument(value: Any) -> str:
    """Formats a value as JSON that passes through Argo and Kubernetes unchanged.

    Argo and KFP's launcher replace `{{...}}` in an argument; Kubernetes replaces `$(NAME)`, and
    `$$` by `$`. In JSON these occur only inside strings, where characters can be escaped.
    """
    text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))
    return re.sub(r"\$(?=[$(])", r"\\u0024", text.replace("{{", r"\u007b\u007b"))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        # YAML 1.1 reads an unquoted `on` as true; JSON keys are strings.
        return {"on" if key is True else str(key): _plain(below) for key, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(below) for below in value]
    return value


def project_words(task: str, folder: str, config: Mapping[str, Any], env: str | None) -> list[str]:
    """The first arguments of `prepare` and `on-exit`, which take no run plan.

    Args:
        task: One of these.
        folder: The project's folder in the image.
        config: The effective configuration, references unresolved, without `kubeflow`.
        env: Name of the overlay in it.
    """
    words = [task, "--project", folder, "--config", as_argument(config)]
    return [*words, "--env", env] if env else words
