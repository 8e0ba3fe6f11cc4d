"""Writing `labels.json`: one rename under a lock, signed where signing is on."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ordain.common.atomic_files import locked, write_atomic
from ordain.errors import ConfigError, InfrastructureError
from ordain.serving.registry import tensorflow_serving
from ordain.serving.registry.label_file import LABELS_FILE, Change, Labels, read_labels
from ordain.serving.registry.trust import Trust

LOCK_FILE = ".labels.lock"


@contextlib.contextmanager
def labels_lock(base: Path) -> Iterator[None]:
    """Keeps the labels of a serving directory as they are, but for the holder's own changes."""
    with locked(base / LOCK_FILE):
        yield


def with_change(
    labels: Labels,
    who: str,
    why: str,
    action: str,
    before: int | None,
    after: int | None,
    version: int,
    share: float | None = None,
) -> Labels:
    """Labels with one more change in their history, which is later than the one before."""
    now = datetime.datetime.now(datetime.UTC)
    if labels.changed is not None:
        # Later than the last one also where another machine's clock is ahead: whoever follows
        # signed labels takes none that are older than what it knows.
        now = max(now, labels.changed + datetime.timedelta(milliseconds=1))
    at = now.isoformat(timespec="milliseconds")
    change = Change(at, who, why, action, before, after, version, share)
    return replace(labels, changes=(*labels.changes, change))


def settle(base: str | Path, trust: Trust | None = None) -> Labels:
    """The labels of a directory, written down if it has none yet, before a version is placed there.

    Without the file the version would be stable from its first moment on, also where it is not
    meant to be; and a file that is missing later was lost.

    Raises:
        ConfigError: Signing is on, and there is no key that can be used.
        InfrastructureError: The labels cannot be read or written, or are not signed as they have
            to be.
    """
    base = Path(base)
    with labels_lock(base):
        labels = read_labels(base, trust)
        if not (base / LABELS_FILE).exists():
            write_labels(base, labels, trust)
        return labels


def write_labels(base: Path, labels: Labels, trust: Trust | None) -> Labels:
    """Replaces the labels; the lock is held.

    Raises:
        ConfigError: Signing is on, and there is no key that can be used.
        InfrastructureError: They cannot be written.
    """
    signature = signature_of(labels, trust)
    try:
        write_atomic(base / LABELS_FILE, labels.to_json(signature))
    except OSError as error:
        raise InfrastructureError(
            f"{base / LABELS_FILE} cannot be written: {error.strerror}; the labels are as before",
            "free space or correct permissions, then try again",
        ) from error
    tensorflow_serving.write_config(base, labels)
    return labels


def signature_of(labels: Labels, trust: Trust | None) -> str | None:
    """The signature of labels that are to be written; None while signing is off.

    Raises:
        ConfigError: There is no private key, or it is not the public one's other half.
    """
    key = trust.key() if trust is not None else None
    if trust is None or trust.public_key is None or key is None:
        return None
    from ordain.serving.registry.signing import is_signature_of, sign_text  # noqa: PLC0415  signing is optional

    text = labels.signed_text(trust.project)
    signature = sign_text(text, key)
    if not is_signature_of(text, signature, trust.public_key):
        raise ConfigError(
            f"push.signing: {key.path} and {trust.public_key} are no pair: what one signs does not "
            "verify by the other",
            "name the two files that were made together; docs/serving-directory.md makes a pair",
        )
    return signature
