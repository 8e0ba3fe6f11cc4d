"""Restores our exceptions from those that Beam raises in their place.

In one process, FnApiRunner re-raises the exception of a DoFn with the step's name in its text.
From a worker it raises a RuntimeError whose text contains the worker's traceback; the last
`ordain.errors` exception in it is the one that the user should read.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from ordain import errors

#: The end of a traceback: exception class, message, and the hint after Beam's addition.
_RAISED = re.compile(
    r"^ordain\.errors\.(\w+): ((?:(?!^ordain\.errors\.).)*?)"
    r"(?: \[while running '[^\n]*'\](\n  next: [^\n]*)?|(?=\n\n)|\Z)",
    re.MULTILINE | re.DOTALL,
)
#: Suffix that Beam appends to an exception's message.
_STEP = re.compile(r" \[while running '[^\n]*'\]\Z")


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Re-raises our exceptions from a Beam pipeline as they were raised in it."""
    try:
        yield
    except errors.OrdainError as error:
        message = _STEP.sub("", error.message)
        if message == error.message:
            raise
        raise type(error)(message, error.hint) from error
    except Exception as error:
        original = restore(error)
        if original is None:
            raise
        raise original from error


def restore(error: BaseException) -> errors.OrdainError | None:
    """Our exception inside the text of another one, or None."""
    found = _RAISED.findall(str(error))
    if not found:
        return None
    name, text, hint = found[-1]
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, errors.OrdainError)):
        return None
    message, _, hint = (text + hint).partition(errors.HINT_MARK)
    # The traceback's text ends where the next frame or worker's message begins.
    return kind(message.strip(), hint.strip().splitlines()[0] if hint.strip() else "")
