"""Rules on sizes: the kernel's limit on one argument, for pods and for KFP's driver.

The backend starts its driver for each task with parts of the task as JSON, each in one argument
(argocompiler's `dag.go` and `container.go`: `--component`, `--task`, `--container`,
`--kubernetes_config`), and for the root with the whole graph. A long pipeline reaches this limit
long before the file reaches its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format

from ordain.kubeflow.validation.file import File, Problem

#: MAX_ARG_STRLEN of Linux (include/uapi/linux/binfmts.h), which includes the terminating zero.
MAX_ARGUMENT_BYTES = 131_072


def argument_size(file: File) -> Iterator[Problem]:
    """Every argument and variable of a pod is below the kernel's limit."""
    for where, _, container in file.containers():
        words = [("command", word) for word in container.command]
        words += [("args", word) for word in container.args]
        words += [("env", f"{given.name}={given.value}") for given in container.env]
        for place, word in words:
            size = len(word.encode()) + 1
            if size > MAX_ARGUMENT_BYTES:
                yield (
                    f"{where}.{place}",
                    f"{size} bytes ({word[:40]}...)",
                    f"at most {MAX_ARGUMENT_BYTES} each, terminating zero included",
                )


def driver_argument(file: File) -> Iterator[Problem]:
    """Every argument that the backend passes to its driver is below the kernel's limit."""
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
            yield (
                where,
                f"{size} bytes as JSON",
                f"at most {MAX_ARGUMENT_BYTES}: KFP's driver receives it as one argument",
            )
