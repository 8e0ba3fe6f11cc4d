"""Google's client of Cloud Storage, with errors that name the address and the next step.

`ordain.serving.registry.object_store` stores versions with it, `ordain.storage.bucket` the files
that pods share. The client finds credentials itself: the account of the machine or pod, or
GOOGLE_APPLICATION_CREDENTIALS.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ordain.errors import InfrastructureError

SCHEME = "gs://"
#: Characters kept of an error's text.
_MAX_ERROR_CHARACTERS = 300


def is_object_store(base: str) -> bool:
    """Returns True for an address of an object store."""
    return base.startswith(SCHEME)


def open_bucket(address: str) -> tuple[Any, str]:
    """Opens the bucket of an address, without a request yet.

    Args:
        address: `gs://bucket` or `gs://bucket/folder`.

    Returns:
        The bucket, and the prefix of its objects, which is empty or ends with `/`.

    Raises:
        InfrastructureError: The address names no bucket, or there are no credentials.
    """
    from google.cloud import storage  # noqa: PLC0415  seconds, and only for gs://

    name, _, folder = address.removeprefix(SCHEME).partition("/")
    if not name:
        raise InfrastructureError(f"{address!r} names no bucket", "gs://bucket/folder")
    with named_errors(address):
        bucket = storage.Client().bucket(name)
    folder = folder.strip("/")
    return bucket, f"{folder}/" if folder else ""


@contextlib.contextmanager
def named_errors(address: str) -> Iterator[None]:
    """Raises errors of the client as errors that name the address and the next step."""
    from google.api_core import exceptions  # noqa: PLC0415
    from google.auth import exceptions as auth  # noqa: PLC0415
    from google.cloud.storage.exceptions import DataCorruption  # noqa: PLC0415
    from requests import RequestException  # noqa: PLC0415

    kinds = (exceptions.GoogleAPIError, auth.GoogleAuthError, DataCorruption, RequestException)
    try:
        yield
    except kinds as error:
        hint = "check the network and the store, then run again"
        if isinstance(error, exceptions.NotFound):
            hint = "make the bucket, or correct the address, then run again"
        elif isinstance(
            error, (exceptions.Forbidden, exceptions.Unauthorized, auth.GoogleAuthError)
        ):
            hint = (
                "give the account that runs this the right to read, write, list and delete the "
                "bucket's objects (roles/storage.objectUser), then run again"
            )
        elif isinstance(error, DataCorruption):
            hint = "the checksums of the two sides differ: run again"
        brief = " ".join(str(error).split()) or type(error).__name__
        if len(brief) > _MAX_ERROR_CHARACTERS:
            # The cause is at either end of the text, and the request in between.
            half = _MAX_ERROR_CHARACTERS // 2
            brief = f"{brief[:half]} ... {brief[-half:]}"
        raise InfrastructureError(f"{address}: {brief}", hint) from error
