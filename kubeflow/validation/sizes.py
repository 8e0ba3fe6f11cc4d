"""Rules on sizes: what the kernel takes as one argument, of the pod and of KFP's driver.

The backend starts its driver for each task with the task's parts as JSON, each in one argument
(argocompiler's `dag.go` and `container.go`: `--component`, `--task`, `--container`,
`--kubernetes_config`), and for the root with the whole graph. A chain that is too long shows
there long before the file reaches its own limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format

from ordain.kubeflow.validation.file import BrokenRule, File

#: MAX_ARG_STRLEN of Linux (include/uapi/linux/binfmts.h), which counts the zero at the end.
MAX_ARGUMENT_BYTES = 131_072


def argument_size(file: File) -> Iterator[BrokenRule]:
    """The kernel takes every argument and variable of a pod."""
    for where, _, container in file.containers():
        words = [("command", word) for word in container.command]
        words += [("args", word) for word in container.args]
        words += [("env", f"{given.name}={given.value}") for given in container.env]
        for place, word in words:
            size = len(word.encode()) + 1
            if size > MAX_ARGUMENT_BYTES:
                yield BrokenRule(
                    "argument-size",
                    f"{where}.{place}",
                    f"{size} bytes ({word[:40]}...)",
                    f"at most {MAX_ARGUMENT_BYTES} each, its end included",
                )


def driver_argument(file: File) -> Iterator[BrokenRule]:
    """The kernel takes every argument that the backend makes of the file for its driver."""
    parts: list[tuple[str, Any]] = [("root", file.spec.root)]
    parts += [(f"components.{name}", one) for name, one in sorted(file.spec.components.items())]
    parts += [(where, task) for where, _, task, _ in file.tasks()]
    parts += [(where, container) for where, _, container in file.containers()]
    executors = "platforms.kubernetes.deploymentSpec.executors"
    parts += [(f"{executors}.{label}", pod) for label, pod in sorted(file.pods.items())]
    for where, part in parts:
        text = json_format.MessageToJson(part, indent=None, ensure_ascii=False)
        size = len(text.encode()) + 1
        if size > MAX_ARGUMENT_BYTES:
            yield BrokenRule(
                "driver-argument",
                where,
                f"{size} bytes as JSON",
                f"at most {MAX_ARGUMENT_BYTES}: KFP's driver gets it as one argument",
            )
