"""What a push leaves in ML Metadata, and what it may be told before it begins.

Apart from the publisher, so that whoever only reads it does not import TFX's executors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

#: Custom properties of PushedModel, as TFX's executor names them.
PUSHED_PROPERTY = "pushed"
VERSION_PROPERTY = "pushed_version"
DESTINATION_PROPERTY = "pushed_destination"
#: And of our own: whether the push made the version stable, and why or why not.
STABLE_PROPERTY = "stable"
REASON_PROPERTY = "stable_reason"
#: A version that stands in the serving directory and that ML Metadata knows nothing of.
_UNRECORDED: ContextVar[int | None] = ContextVar("unrecorded", default=None)


@contextlib.contextmanager
def unrecorded(version: int | None) -> Iterator[None]:
    """Tells the publisher of a version whose publisher was killed before it could say so.

    If it holds the model that is to be published, it is taken as it is: a run that is killed
    between the rename and its record publishes nothing twice.
    """
    token = _UNRECORDED.set(version)
    try:
        yield
    finally:
        _UNRECORDED.reset(token)


def unrecorded_version() -> int | None:
    """The version that `unrecorded` told of; None outside of it."""
    return _UNRECORDED.get()
