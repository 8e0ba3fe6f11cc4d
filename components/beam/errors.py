"""Errors that cross a Beam worker come back changed; here they become themselves again.

In one process, FnApiRunner raises what a DoFn raised, made anew with the step's name in its text.
From a worker of its own it reports a RuntimeError whose text holds the worker's traceback: the
last `ordain.errors` exception named in it is what the user should read.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from ordain import errors

#: An error as a traceback's text ends with it: kind, text, and the hint behind Beam's addition.
_RAISED = re.compile(
    r"^contracts\.errors\.(\w+): ((?:(?!^contracts\.errors\.).)*?)"
    r"(?: \[while running '[^\n]*'\](\n  next: [^\n]*)?|(?=\n\n)|\Z)",
    re.MULTILINE | re.DOTALL,
)
#: What Beam appends to an error's text.
_STEP = re.compile(r" \[while running '[^\n]*'\]\Z")


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Re-raises errors of ours that come out of a Beam pipeline as what they were."""
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
    """The error of ours inside another one's text, or None."""
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
