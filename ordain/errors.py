"""Errors that a user can cause or meet, each with its exit code.

    OrdainError
    +-- NodeFailedError       1  a node of the pipeline raised
    +-- ConfigError           2  configuration or usage
    +-- DataBlockedError      3  data refused while reading, or by the data gate
    +-- NotBlessedError       4  the model did not pass evaluation
    +-- InfrastructureError   5  metadata store, disk, lock, publishing

Any other exception that reaches the command line is a bug and is shown with its traceback.
"""

from __future__ import annotations

from enum import IntEnum

HINT_MARK = "\n  next: "


class ExitCode(IntEnum):
    """Exit codes of all commands and pods; scheduled jobs act on these numbers."""

    DONE = 0
    NODE_FAILED = 1
    CONFIG = 2
    DATA_BLOCKED = 3
    NOT_BLESSED = 4
    INFRASTRUCTURE = 5


class OrdainError(Exception):
    """A failure with its cause and the next step.

    Args:
        message: One sentence: what failed, where (file and key), the value found, and what is
            allowed.
        hint: The next command or edit; empty if there is none.
    """

    exit_code = ExitCode.NODE_FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        # Beam rebuilds an error from its arguments, so the hint has to be one of them.
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Message and hint, as the command line prints them and a Beam worker passes them on."""
        return f"{self.message}{HINT_MARK}{self.hint}" if self.hint else self.message


def utf8_text(text: str) -> str:
    """Escapes halves of surrogate pairs, which an error may quote and no file can hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class NodeFailedError(OrdainError):
    """A node of the pipeline raised."""

    exit_code = ExitCode.NODE_FAILED


class ConfigError(OrdainError):
    """The configuration, a file of the project or an argument of the command is wrong."""

    exit_code = ExitCode.CONFIG


class DataBlockedError(OrdainError):
    """The data cannot be read in its declared format, or a gate refused it."""

    exit_code = ExitCode.DATA_BLOCKED


class NotBlessedError(OrdainError):
    """The model failed a threshold."""

    exit_code = ExitCode.NOT_BLESSED


class InfrastructureError(OrdainError):
    """The metadata store, a disk, a lock, a server or publishing failed."""

    exit_code = ExitCode.INFRASTRUCTURE
