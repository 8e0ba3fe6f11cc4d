"""The contract between the compiled file and the pod: tasks, run parameters, command lines.

`ordain.kubeflow.compiler.compiler` writes these command lines and `ordain.kubeflow.pod.entrypoint`
reads them. Nothing here imports KFP, TFX or TensorFlow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

#: What every container runs, with the task's kind as the next word.
ENTRYPOINT = ("python", "-m", "ordain.kubeflow.pod.entrypoint")
#: Tasks that are no nodes of the chain: one before all of them, one after all of them have
#: succeeded, and one when all that could run has run, however it ended.
PREPARE = "prepare"
RESULT = "result"
ON_EXIT = "on-exit"
#: Name of the group that holds all tasks but the last, in KFP's pages.
GROUP = "chain"
#: Run parameters, all of them texts; empty: the newest span, no settings.
SPAN = "span"
SETTINGS = "settings"
PIPELINE_ROOT = "pipeline_root"
#: An input of every task: Kubeflow's id of the run.
RUN_ID = "run_id"
#: The launcher replaces this by the whole ExecutorInput of the task, as JSON.
EXECUTOR_INPUT = "{{$}}"
#: Names of what each task leaves for KFP's pages.
HTML = "html"
METRICS = "metrics"
#: What `prepare` hands to all others.
PLAN = "plan"


def task_name(node: str) -> str:
    """A node's task: `ExampleGen` is `example-gen`, as Argo and Kubernetes take it."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", node)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def as_argument(value: Any) -> str:
    """A JSON text that passes Argo and Kubernetes unchanged.

    Argo and KFP's launcher replace `{{...}}` in an argument, and Kubernetes `$(NAME)` and, with a
    single one, `$$`. In JSON each can only stand inside a text, where a character may be written
    as its number.
    """
    text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))
    return re.sub(r"\$(?=[$(])", r"\\u0024", text.replace("{{", r"\u007b\u007b"))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        # YAML 1.1 reads an unquoted `on` as the truth value; JSON's keys are texts.
        return {"on" if key is True else str(key): _plain(below) for key, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(below) for below in value]
    return value


def prepare_words(
    folder: str, config: Mapping[str, Any], env: str | None, source: str, chain: Mapping[str, Any]
) -> list[str]:
    """Fixed words of `prepare`; those that are placeholders come after them.

    Args:
        folder: The project's folder in the image.
        config: The effective configuration, references unresolved, without `kubeflow`.
        env: Name of the overlay in it.
        source: Fingerprint of source and schema (`ordain.project.source.image_fingerprint`).
        chain: The shape that tasks are made for (`ordain.pipeline.topology`).
    """
    words = [PREPARE, "--project", folder, "--config", as_argument(config)]
    words += ["--env", env] if env else []
    return [*words, "--source", source, "--chain", as_argument(chain)]


def node_words(node: str) -> list[str]:
    """Fixed words of a node's task."""
    return ["node", "--node", node]


def result_words() -> list[str]:
    """Fixed words of `result`."""
    return [RESULT]


def on_exit_words(folder: str, config: Mapping[str, Any], env: str | None) -> list[str]:
    """Fixed words of `on-exit`, which cannot take anything from `prepare`: that may have failed.

    Args:
        folder: The project's folder in the image.
        config: As for `prepare_words`.
        env: Name of the overlay in it.
    """
    words = [ON_EXIT, "--project", folder, "--config", as_argument(config)]
    return [*words, "--env", env] if env else words
