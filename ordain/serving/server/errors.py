"""Outcome codes of requests, common to HTTP and gRPC, and the error that carries one."""

from __future__ import annotations

from enum import Enum

from ordain.errors import ExitCode, OrdainError


class Code(Enum):
    """Canonical codes: gRPC's number and the HTTP status.

    The mapping is TensorFlow Serving's (`ToHTTPStatusCode` of its HTTP server). The four at the end
    are HTTP's only, and share a gRPC number.
    """

    OK = (0, 200)
    CANCELLED = (1, 499)
    UNKNOWN = (2, 500)
    INVALID_ARGUMENT = (3, 400)
    DEADLINE_EXCEEDED = (4, 504)
    NOT_FOUND = (5, 404)
    ALREADY_EXISTS = (6, 409)
    PERMISSION_DENIED = (7, 403)
    RESOURCE_EXHAUSTED = (8, 429)
    FAILED_PRECONDITION = (9, 412)
    ABORTED = (10, 409)
    OUT_OF_RANGE = (11, 400)
    UNIMPLEMENTED = (12, 501)
    INTERNAL = (13, 500)
    UNAVAILABLE = (14, 503)
    DATA_LOSS = (15, 500)
    UNAUTHENTICATED = (16, 401)
    METHOD_NOT_ALLOWED = (12, 405)
    REQUEST_TIMEOUT = (4, 408)
    PAYLOAD_TOO_LARGE = (8, 413)
    UNSUPPORTED_MEDIA_TYPE = (3, 415)

    def __init__(self, number: int, http: int) -> None:
        self.number = number
        self.http = http

    @classmethod
    def of_number(cls, number: int) -> Code:
        """The canonical code of a gRPC or TensorFlow code number; UNKNOWN if there is none."""
        return next((code for code in cls if code.number == number), cls.UNKNOWN)


class RequestError(OrdainError):
    """A failed request, with the code of its response."""

    exit_code = ExitCode.CONFIG

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> RequestError:
    """Error for an invalid request, which the client has to change."""
    return RequestError(Code.INVALID_ARGUMENT, message)


def not_found(message: str) -> RequestError:
    """Error for a model, version or label that is not served."""
    return RequestError(Code.NOT_FOUND, message)
