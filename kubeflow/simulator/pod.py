"""Prepares one attempt of a task: folders, command, environment.

Home, temporary files and the working directory are removed with the attempt; outputs and the log
stay in the simulation's folder.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordain.kubeflow.placeholders import (
    EXECUTOR_INPUT,
    UnknownPlaceholderError,
    expand_variables,
    fill,
    fill_words,
    input_parameter,
)
from ordain.kubeflow.simulator.inputs import InputError, Inputs, Outputs
from ordain.kubeflow.simulator.job import Task, plain
from ordain.kubeflow.simulator.secret_values import SecretValues
from ordain.kubeflow.simulator.values import to_text

NAMESPACE = "simulation"
#: The variable that marks all processes of an attempt; the KFP launcher has it too.
POD_NAME = "KFP_POD_NAME"
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Pod:
    """An attempt that is ready to start.

    Attributes:
        name: The pod's name.
        command: The command to run.
        environment: The whole environment.
        work: The working directory.
        log: The file for its output.
        files: Output parameter -> file.
        written: Output artifacts as they were described to the task.
        metadata: The file that the KFP SDK's executor writes.
        scratch: The folder that is removed with it.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    work: Path
    log: Path
    files: dict[str, Path]
    written: Outputs
    metadata: Path
    scratch: Path

    def remove(self) -> None:
        """Removes the scratch folder."""
        shutil.rmtree(self.scratch, ignore_errors=True)


def make_pod(
    task: Task, name: str, folder: Path, inputs: Inputs, environment: Mapping[str, str]
) -> Pod:
    """Creates the folders of an attempt and fills in its command.

    Args:
        task: The task.
        name: The pod's name.
        folder: The attempt's folder, which is created.
        inputs: The task's inputs.
        environment: Variables from the file (`task_environment`).

    Raises:
        InputError: The command refers to an input without a value.
    """
    for part in ("outputs", "artifacts"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    # In the system's temporary folder, because socket paths have to be short.
    scratch = Path(tempfile.mkdtemp(prefix="ordain-pod-"))
    for part in ("home", "tmp", "work"):
        (scratch / part).mkdir()
    outputs = task.component.output_definitions
    files = {key: folder / "outputs" / key for key in outputs.parameters}
    artifacts = {
        key: {
            "name": key,
            "uri": str(folder / "artifacts" / key),
            "type": plain(artifact.artifact_type),
            "metadata": {},
        }
        for key, artifact in outputs.artifacts.items()
    }
    metadata = folder / "output_metadata.json"
    try:
        values = _values(inputs, files, artifacts, metadata)
        # Kubernetes expands $(NAME) first, so values are not expanded.
        words = [*task.container.command, *task.container.args]
        words = [expand_variables(word, environment) for word in words]
        command = fill_words(words, values, inputs.given)
    except UnknownPlaceholderError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise InputError(f"its command refers to {error}, which has no value") from error
    return Pod(
        name,
        command,
        {**_base_environment(name, scratch), **environment},
        scratch / "work",
        folder / "log.txt",
        files,
        Outputs(artifacts=artifacts),
        metadata,
        scratch,
    )


def task_environment(
    task: Task,
    pod: str,
    run: Mapping[str, Any],
    inputs: Mapping[str, Any],
    secrets: SecretValues,
    config_maps: SecretValues,
) -> dict[str, str]:
    """The environment variables that the file gives a task.

    Args:
        task: The task.
        pod: The pod's name.
        run: The run's parameters.
        inputs: The task's parameters; a variable may refer to one.
        secrets: Secrets' values.
        config_maps: Config maps' values.

    Raises:
        InputError: A secret, a config map or an input has no value.
    """
    texts = {input_parameter(key): to_text(value) for key, value in inputs.items()}
    environment: dict[str, str] = {}
    for given in task.container.env:
        try:
            environment[given.name] = fill(expand_variables(given.value, environment), texts)
        except UnknownPlaceholderError as error:
            why = f"variable {given.name} refers to {error}, which has no value"
            raise InputError(why) from error
    environment |= secrets.environment(task, run) | config_maps.environment(task, run)
    fields = {
        "metadata.name": pod,
        "metadata.namespace": NAMESPACE,
        "metadata.uid": str(uuid.uuid5(uuid.NAMESPACE_URL, pod)),
        "spec.nodeName": os.uname().nodename,
    }
    return environment | {one.name: fields[one.field_path] for one in task.pod.field_path_as_env}


def measure_artifacts(artifacts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Describes artifacts for the report, with their size in bytes.

    Args:
        artifacts: Artifact -> its description; its URI is a path here.
    """
    return {
        key: {
            "uri": artifact["uri"],
            "type": artifact["type"].get("schemaTitle", ""),
            "metadata": artifact["metadata"],
            "bytes": _bytes(Path(artifact["uri"])),
        }
        for key, artifact in artifacts.items()
    }


def _base_environment(pod: str, scratch: Path) -> dict[str, str]:
    """The variables that every task gets; nothing of the caller's environment."""
    # `python` is the interpreter that ordain runs in, which has the packages of the image.
    return {
        "PATH": f"{Path(sys.executable).parent}:{_SYSTEM_PATH}",
        "HOME": str(scratch / "home"),
        "TMPDIR": str(scratch / "tmp"),
        "LANG": "C.UTF-8",
        POD_NAME: pod,
    }


def _values(
    inputs: Inputs,
    files: Mapping[str, Path],
    artifacts: Mapping[str, Mapping[str, Any]],
    metadata: Path,
) -> dict[str, str]:
    """Placeholder -> value."""
    values = {input_parameter(key): to_text(value) for key, value in inputs.parameters.items()}
    for direction, found in (("inputs", inputs.artifacts), ("outputs", artifacts)):
        for key, artifact in found.items():
            for part in ("uri", "path"):
                values[f"{{{{$.{direction}.artifacts['{key}'].{part}}}}}"] = artifact["uri"]
    for key, file in files.items():
        values[f"{{{{$.outputs.parameters['{key}'].output_file}}}}"] = str(file)
    # `kfp.local.executor_input_utils` fails on an optional integer without a value.
    values[EXECUTOR_INPUT] = json.dumps(
        {
            "inputs": {
                "parameterValues": inputs.parameters,
                "artifacts": {k: {"artifacts": [a]} for k, a in inputs.artifacts.items()},
            },
            "outputs": {
                "parameters": {key: {"outputFile": str(file)} for key, file in files.items()},
                "artifacts": {key: {"artifacts": [a]} for key, a in artifacts.items()},
                "outputFile": str(metadata),
            },
        }
    )
    return values


def _bytes(path: Path) -> int | None:
    if path.is_file():
        return path.stat().st_size
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return None
