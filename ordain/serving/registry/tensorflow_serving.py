"""Writes TensorFlow Serving's configuration for the versions and their labels.

`tensorflow_model_server --model_config_file=... --model_config_file_poll_wait_seconds=1` polls it,
so a running server follows each change. Rewritten after every change:

- `models.config`, for a server on this machine;
- `container.config`, for a container with the serving directory mounted at `CONTAINER_BASE`, as
  `ordain serve --emit` mounts it;
- `batching.config`, for `--enable_batching --batching_parameters_file`.

The server assigns a label only once its version is loaded (`server_core.cc`,
`UpdateModelVersionLabelMap`); an earlier poll fails and the next one succeeds. The version that had
the label before stays listed: it serves until then, and a rollback finds it loaded. The first
labels of a fresh server need `--allow_version_labels_for_unavailable_models=true`.
"""

from __future__ import annotations

import errno
from pathlib import Path

from ordain.common.atomic_files import write_atomic
from ordain.errors import InfrastructureError
from ordain.serving.registry.label_file import CANARY, STABLE, Labels
from ordain.serving.registry.versions import list_versions

FOLDER = "tensorflow_serving"
MODELS_FILE = "models.config"
CONTAINER_FILE = "container.config"
BATCHING_FILE = "batching.config"
#: Mount point of the serving directory in containers, the same as KServe's.
CONTAINER_BASE = "/mnt/models"
#: Seconds between two polls of a server.
POLL_S = 1
#: `tensorflow_serving/servables/tensorflow/session_bundle_config.proto`, BatchingParameters.
BATCHING = """\
max_batch_size { value: 128 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 100 }
allowed_batch_sizes: 1
allowed_batch_sizes: 8
allowed_batch_sizes: 32
allowed_batch_sizes: 128
"""


def served_versions(base: str | Path, labels: Labels) -> list[int]:
    """Versions that a server keeps loaded, oldest first.

    Existing versions that have a label, are the newest, or were stable before.
    """
    have = list_versions(base)
    wanted = {*labels.labelled, labels.previous, *have[-1:]}
    return [version for version in have if version in wanted]


def models_config(name: str, base_path: str, versions: list[int], labels: Labels) -> str:
    """Makes `models.config`, in the text format of the ModelServerConfig proto.

    Args:
        name: The model's name in requests.
        base_path: The serving directory as the server sees it.
        versions: Versions to load; if empty, the server loads the newest.
        labels: The labels; those of versions that are not loaded are omitted.
    """
    if versions:
        listed = " ".join(f"versions: {version}" for version in versions)
        policy = f"specific {{ {listed} }}"
    else:
        policy = "latest { num_versions: 1 }"
    lines = [
        "model_config_list {",
        "  config {",
        f"    name: {_quoted(name)}",
        f"    base_path: {_quoted(base_path)}",
        '    model_platform: "tensorflow"',
        f"    model_version_policy {{ {policy} }}",
    ]
    for label in (STABLE, CANARY):
        version = labels.version_of(label)
        if version in versions:
            lines.append(f'    version_labels {{ key: "{label}" value: {version} }}')
    return "\n".join([*lines, "  }", "}", ""])


def write_config(base: str | Path, labels: Labels) -> None:
    """Writes the three files; the model is named after the serving directory's folder.

    Raises:
        InfrastructureError: They cannot be written; the labels have changed already.
    """
    base = Path(base)
    folder = base / FOLDER
    versions = served_versions(base, labels)
    texts = {
        MODELS_FILE: models_config(base.name, str(base.absolute()), versions, labels),
        CONTAINER_FILE: models_config(base.name, CONTAINER_BASE, versions, labels),
        BATCHING_FILE: BATCHING,
    }
    try:
        if folder.is_symlink():
            raise OSError(errno.ELOOP, "it is a link")
        folder.mkdir(exist_ok=True)
        for name, text in texts.items():
            write_atomic(folder / name, text)
    except OSError as error:
        raise InfrastructureError(
            f"{folder} cannot be written: {error.strerror}; the labels have changed, but a "
            "TensorFlow Serving that reads this folder does not follow yet",
            "free space or correct permissions; the next change of a label writes it",
        ) from error


def _quoted(text: str) -> str:
    """Quotes a text for protobuf's text format."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
