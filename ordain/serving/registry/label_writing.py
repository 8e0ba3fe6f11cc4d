"""Writes `labels.json`, by one rename under a lock, and signs it where signing is on."""

from __future__ import annotations

import datetime
import getpass
import socket
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ordain.common.atomic_files import locked, write_atomic
from ordain.errors import ConfigError, InfrastructureError
from ordain.serving.registry import tensorflow_serving
from ordain.serving.registry.label_file import (
    CANARY,
    LABELS_FILE,
    STABLE,
    Change,
    Labels,
    read_labels,
)
from ordain.serving.registry.trust import Trust

LOCK_FILE = ".labels.lock"

Action = Literal["publish", "promote", "rollback", "canary", "drop_canary"]


def labels_lock(base: Path) -> AbstractContextManager[None]:
    """Holds the lock of a serving directory's labels."""
    return locked(base / LOCK_FILE)


def with_change(
    before: Labels, after: Labels, who: str, why: str, action: Action, version: int
) -> Labels:
    """Appends a change to the history of new labels.

    The version that becomes stable is no longer the canary.

    Args:
        before: The labels before the change.
        after: The labels after it, without it in their history.
        who: A person as `user@host`, or `run <run id>`.
        why: The reason.
        action: What changes the labels.
        version: The version that the change is about.
    """
    now = datetime.datetime.now(datetime.UTC)
    if before.changed is not None:
        # Later than the last change even if another machine's clock is ahead: a server that
        # follows signed labels rejects labels older than those it knows.
        now = max(now, before.changed + datetime.timedelta(milliseconds=1))
    is_canary = action in ("canary", "drop_canary")
    if not is_canary and after.canary is not None and after.canary.version == after.stable:
        after = replace(after, canary=None)
    label = CANARY if is_canary else STABLE
    change = Change(
        at=now.isoformat(timespec="milliseconds"),
        who=who,
        why=why,
        action=action,
        before=before.version_of(label),
        after=after.version_of(label),
        version=version,
        share=after.canary.share if action == "canary" and after.canary is not None else None,
    )
    return replace(after, changes=(*before.changes, change))


def this_user() -> str:
    """Name of this process's user for the history of labels: `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def settle(base: str | Path, trust: Trust | None = None) -> Labels:
    """Reads the labels before a version is published, and writes the file if it is missing.

    Without the file the new version would be stable at once, even if it is not meant to be; and
    once the file exists, a missing file is known to be lost.

    Raises:
        ConfigError: Signing is on, and there is no usable key.
        InfrastructureError: The labels cannot be read or written, or their signature is missing or
            wrong.
    """
    base = Path(base)
    with labels_lock(base):
        labels = read_labels(base, trust)
        if not (base / LABELS_FILE).exists():
            write_labels(base, labels, trust)
        return labels


def write_labels(base: Path, labels: Labels, trust: Trust | None) -> Labels:
    """Replaces the labels; the caller holds the lock.

    Raises:
        ConfigError: Signing is on, and there is no usable key.
        InfrastructureError: They cannot be written.
    """
    signature = signature_of(labels, trust)
    try:
        write_atomic(base / LABELS_FILE, labels.to_json(signature))
    except OSError as error:
        raise InfrastructureError(
            f"{base / LABELS_FILE} cannot be written: {error.strerror}; the labels are unchanged",
            "free space or correct permissions, then try again",
        ) from error
    tensorflow_serving.write_config(base, labels)
    return labels


def signature_of(labels: Labels, trust: Trust | None) -> str | None:
    """Signs labels; None while signing is off.

    Raises:
        ConfigError: There is no private key, or it does not match the public one.
    """
    key = trust.key() if trust is not None else None
    if trust is None or trust.public_key is None or key is None:
        return None
    from ordain.serving.registry.signing import is_signature_of, sign_text  # noqa: PLC0415  signing is optional

    text = labels.signed_text(trust.project)
    signature = sign_text(text, key)
    if not is_signature_of(text, signature, trust.public_key):
        raise ConfigError(
            f"push.signing: {key.path} and {trust.public_key} are not a key pair",
            "name two files of one pair; docs/serving-directory.md shows how to create one",
        )
    return signature
