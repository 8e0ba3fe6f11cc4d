"""Properties of a pushed model in ML Metadata, and the unrecorded version of a killed push.

Separate from the publisher, so that readers do not import TFX's executors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

#: Custom properties of PushedModel, as TFX's executor names them.
PUSHED_PROPERTY = "pushed"
VERSION_PROPERTY = "pushed_version"
DESTINATION_PROPERTY = "pushed_destination"
#: Our own: 1 if the push made the version stable, and the reason.
STABLE_PROPERTY = "stable"
REASON_PROPERTY = "stable_reason"
#: A version in the serving directory that is not recorded in ML Metadata.
_UNRECORDED: ContextVar[int | None] = ContextVar("unrecorded", default=None)


@contextlib.contextmanager
def unrecorded(version: int | None) -> Iterator[None]:
    """Passes the publisher a version whose publisher was killed before it recorded the push.

    If it is the model to be published, it is used as it is: a run that is killed between the rename
    and the record publishes nothing twice.
    """
    token = _UNRECORDED.set(version)
    try:
        yield
    finally:
        _UNRECORDED.reset(token)


def unrecorded_version() -> int | None:
    """The version passed by `unrecorded`; None outside of it."""
    return _UNRECORDED.get()
