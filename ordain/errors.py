"""The one tree of errors a user can cause or meet, each with its exit code.

    OrdainError
    +-- NodeFailedError       1  a node of the chain raised
    +-- ConfigError           2  configuration or usage
    +-- DataBlockedError      3  data refused while reading, or by the data gate
    +-- NotBlessedError       4  the model did not pass evaluation
    +-- InfrastructureError   5  metadata store, disk, lock, publishing

Anything else that reaches the top is a bug and keeps its traceback.
"""

from __future__ import annotations

from enum import IntEnum

HINT_MARK = "\n  next: "


class ExitCode(IntEnum):
    """What a process of ours exits with; scheduled jobs act on these numbers."""

    DONE = 0
    NODE_FAILED = 1
    CONFIG = 2
    DATA_BLOCKED = 3
    NOT_BLESSED = 4
    INFRASTRUCTURE = 5


class OrdainError(Exception):
    """A failure with a headline, and what to do next.

    Args:
        message: What failed, where, what it got and what is allowed.
        hint: The next command or edit; empty when there is none.
    """

    exit_code = ExitCode.NODE_FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        # Beam makes an error anew from its arguments: the hint has to be one of them.
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Headline and hint: all that is left of an error that crosses a Beam worker."""
        return f"{self.message}{HINT_MARK}{self.hint}" if self.hint else self.message


class NodeFailedError(OrdainError):
    """A node of the chain raised."""

    exit_code = ExitCode.NODE_FAILED


class ConfigError(OrdainError):
    """The configuration, the project's files or the command's arguments are wrong."""

    exit_code = ExitCode.CONFIG


class DataBlockedError(OrdainError):
    """The data cannot be read as what it should be, or a gate refused it."""

    exit_code = ExitCode.DATA_BLOCKED


class NotBlessedError(OrdainError):
    """The model did not pass its thresholds."""

    exit_code = ExitCode.NOT_BLESSED


class InfrastructureError(OrdainError):
    """Metadata store, disk, lock or publishing."""

    exit_code = ExitCode.INFRASTRUCTURE
