"""TensorFlow Serving's configuration, derived from the versions and their labels.

`tensorflow_model_server --model_config_file=... --model_config_file_poll_wait_seconds=1` reads
it again and again, so a server that runs follows each change. Written anew after every one:

- `models.config`, for a server on this machine;
- `container.config`, the same for one that has the serving directory mounted at
  `CONTAINER_BASE`, as `ordain serve --emit` mounts it;
- `batching.config`, for `--enable_batching --batching_parameters_file`.

Labels are moved in two steps by the server itself: a label goes to a version only once that is
loaded (`server_core.cc`, `UpdateModelVersionLabelMap`); a poll that comes too early fails and
the next one succeeds. That is why the version a label came from stays listed: it serves until
then, and a rollback finds it loaded. The first labels of a fresh server need
`--allow_version_labels_for_unavailable_models=true`.
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
#: Where containers have the serving directory; KServe mounts a model's storage there.
CONTAINER_BASE = "/mnt/models"
#: How often a server looks for a change, in seconds.
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

    The labelled ones, the newest, and the one that was stable before; only what is there.
    """
    have = list_versions(base)
    wanted = {*labels.labelled, labels.previous, *have[-1:]}
    return [version for version in have if version in wanted]


def models_config(name: str, base_path: str, versions: list[int], labels: Labels) -> str:
    """`models.config` in the text form of the ModelServerConfig proto.

    Args:
        name: The model's name in requests.
        base_path: The serving directory as the server sees it.
        versions: Versions to load; with none, the server takes the newest that comes.
        labels: The labels; one on a version that is not loaded is left out.
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
    """Writes the three files; the model's name is that of the serving directory's folder.

    Raises:
        InfrastructureError: They cannot be written; the labels are as they are.
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
            f"{folder} cannot be written: {error.strerror}; the labels have changed, and a "
            "TensorFlow Serving that reads this folder does not know yet",
            "free space or correct permissions; the next change of a label writes it",
        ) from error


def _quoted(text: str) -> str:
    """A text as protobuf's text form quotes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
