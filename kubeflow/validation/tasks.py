"""Rules on a task's pod: container, arguments, retries, resources, platform."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ordain.kubeflow.placeholders import EXECUTOR_INPUT, RUN_PLACEHOLDERS
from ordain.kubeflow.validation.file import File, Problem

#: The longest back-off that KFP's specification allows.
MAX_BACKOFF_S = 3600
_PLACEHOLDER = re.compile(r"\{\{\$.*?\}\}")
_TAKEN = re.compile(
    r"\{\{\$\.(?P<side>inputs|outputs)\.(?P<kind>parameters|artifacts)\['(?P<name>[^']+)'\]"
    r"(?P<rest>[^}]*)\}\}"
)
#: Allowed suffixes of a placeholder by side and kind (KFP's launcher_v2.go, getPlaceholders).
_REST = {
    ("inputs", "parameters"): ("",),
    ("inputs", "artifacts"): (".uri", ".path"),
    ("outputs", "parameters"): (".output_file",),
    ("outputs", "artifacts"): (".uri", ".path"),
}
_CPU = re.compile(r"[0-9]+(\.[0-9]+)?|[0-9]+m")
_MEMORY = re.compile(r"[0-9]+(\.[0-9]+)?([EPTGM]i?|Ki|k|m)?")
#: Kubernetes' third_party/forked/golang/expansion; the launcher passes the arguments on.
_EXPANDED = re.compile(r"\$\$.{0,20}|\$\([^)]{0,40}\)?")
_ENV = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*")


def executor_kind(file: File) -> Iterator[Problem]:
    """The open-source backend can run every executor."""
    for label, executor in sorted(file.executors.items()):
        kind = executor.WhichOneof("spec")
        if kind not in ("container", "importer"):
            yield (
                f"deploymentSpec.executors.{label}",
                str(kind),
                "must be a container or an importer; resolvers and custom jobs are for Vertex AI",
            )


def image(file: File) -> Iterator[Problem]:
    """Every container has an image and a command."""
    for where, _, container in file.containers():
        if not re.fullmatch(r"[^\s{}]+", container.image):
            yield f"{where}.image", repr(container.image), "must be an image name"
        if not container.command:
            yield f"{where}.command", "nothing", "required by KFP's launcher"


def placeholder(file: File) -> Iterator[Problem]:
    """The launcher fills every placeholder, and the component declares its name."""
    components = {c.executor_label: c for c in file.spec.components.values() if c.executor_label}
    for where, label, container in file.containers():
        for word in (*container.command, *container.args):
            for found in _PLACEHOLDER.findall(word):
                problem = _problem(found, components.get(label))
                if problem:
                    yield f"{where}.args", found, problem


def _problem(found: str, component: Any) -> str:
    """The problem with a placeholder; empty if there is none."""
    if found == EXECUTOR_INPUT:
        return ""
    if found in RUN_PLACEHOLDERS:
        return "not filled in a command; pass it to the task as the whole value of an input"
    taken = _TAKEN.fullmatch(found)
    if taken is None:
        return "not a placeholder of the launcher"
    rests = _REST[taken["side"], taken["kind"]]
    if taken["rest"] not in rests:
        return f"{taken['side']}.{taken['kind']} end in {' or '.join(map(repr, rests))}"
    if component is None:
        return ""
    definitions = getattr(component, f"{taken['side'][:-1]}_definitions")
    names = sorted(getattr(definitions, taken["kind"]))
    if taken["name"] not in names:
        return f"the component's {taken['side']} are {', '.join(names) or 'none'}"
    return ""


def template(file: File) -> Iterator[Problem]:
    """No argument or variable contains a template that Argo would replace."""
    for where, _, container in file.containers():
        words = [("args", word) for word in (*container.command, *container.args)]
        words += [("env", given.value) for given in container.env]
        for place, word in words:
            rest = _PLACEHOLDER.sub("", word) if place == "args" else word
            found = re.search(r"\{\{.{0,40}", rest)
            if found:
                yield f"{where}.{place}", repr(found[0]), "Argo would replace '{{'"


def expansion(file: File) -> Iterator[Problem]:
    """No argument contains a reference that Kubernetes would expand."""
    for where, _, container in file.containers():
        for word in (*container.command, *container.args):
            found = _EXPANDED.search(word)
            if found:
                yield (
                    f"{where}.args",
                    repr(found[0]),
                    "Kubernetes replaces '$$' by '$' and expands '$(NAME)'",
                )


def caching(file: File) -> Iterator[Problem]:
    """KFP's cache is off: it would skip the pod and leave TFX without an execution."""
    for where, _, task, _ in file.tasks():
        component = file.spec.components.get(task.component_ref.name)
        is_graph = component is not None and component.WhichOneof("implementation") == "dag"
        if task.caching_options.enable_cache and not is_graph:
            yield f"{where}.cachingOptions.enableCache", "true", "must be false"


def retry_policy(file: File) -> Iterator[Problem]:
    """A retry policy is complete: the backend has no defaults."""
    for where, _, task, _ in file.tasks():
        if not task.HasField("retry_policy"):
            continue
        policy = task.retry_policy
        here = f"{where}.retryPolicy"
        backoff, most = _seconds(policy.backoff_duration), _seconds(policy.backoff_max_duration)
        if policy.max_retry_count < 1:
            yield f"{here}.maxRetryCount", str(policy.max_retry_count), "1 or more"
        if backoff <= 0:
            yield f"{here}.backoffDuration", f"{backoff:g} s", "above 0"
        if policy.backoff_factor < 1:
            yield f"{here}.backoffFactor", f"{policy.backoff_factor:g}", "1 or more"
        if not 0 < most <= MAX_BACKOFF_S:
            yield f"{here}.backoffMaxDuration", f"{most:g} s", f"above 0, at most {MAX_BACKOFF_S}"


def resources(file: File) -> Iterator[Problem]:
    """Quantities follow Kubernetes' syntax."""
    for where, _, container in file.containers():
        resources = container.resources
        for key, form in (
            ("resource_cpu_limit", _CPU),
            ("resource_cpu_request", _CPU),
            ("resource_memory_limit", _MEMORY),
            ("resource_memory_request", _MEMORY),
        ):
            value = getattr(resources, key)
            if value and not form.fullmatch(value):
                yield (
                    f"{where}.resources.{key}",
                    repr(value),
                    "must be a Kubernetes quantity, such as 500m or 4Gi",
                )
        accelerator = resources.accelerator
        if resources.HasField("accelerator") and not (
            accelerator.resource_type and accelerator.resource_count.isdigit()
        ):
            yield (
                f"{where}.resources.accelerator",
                f"type {accelerator.resource_type!r}, count {accelerator.resource_count!r}",
                "must be a resource name and a number",
            )


def environment(file: File) -> Iterator[Problem]:
    """Every variable of a pod has a valid name and is set once."""
    for where, label, container in file.containers():
        names = [given.name for given in container.env]
        if label in file.pods:
            for secret in file.pods[label].secret_as_env:
                names += [given.env_var for given in secret.key_to_env]
        for name in sorted(set(names)):
            if not _ENV.fullmatch(name):
                yield f"{where}.env", repr(name), "must be a variable name"
            elif names.count(name) > 1:
                yield f"{where}.env", f"{name!r} {names.count(name)} times", "must be set once"


def platform(file: File) -> Iterator[Problem]:
    """The platform is Kubernetes and configures existing executors."""
    for name in sorted(file.platform.platforms):
        if name != "kubernetes":
            yield f"platforms.{name}", repr(name), "must be kubernetes"
    for label, pod in sorted(file.pods.items()):
        where = f"platforms.kubernetes.deploymentSpec.executors.{label}"
        if label not in file.executors:
            yield where, repr(label), "must be an executor of document 1"
        paths = [mount.mount_path for mount in pod.pvc_mount]
        paths += [secret.mount_path for secret in pod.secret_as_volume]
        for path in sorted(set(paths)):
            if not path.startswith("/") or paths.count(path) > 1:
                yield f"{where}.pvcMount", repr(path), "must be an absolute path, mounted once"


def _seconds(duration: Any) -> float:
    return float(duration.seconds + duration.nanos / 1e9)
