"""Cloud Storage's client: an address as a bucket, and errors that say what to do.

What is uploaded or fetched through here is Google's own client's business; what objects mean is
that of `ordain.serving.registry.object_store` (versions) and of `ordain.storage.bucket` (what pods
share). Credentials are the client's to find: the machine's or pod's own account, or
GOOGLE_APPLICATION_CREDENTIALS.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ordain.errors import InfrastructureError

SCHEME = "gs://"
#: Of what the client says of an error.
_TOLD_CHARACTERS = 300


def is_object_store(base: str) -> bool:
    """Whether a place is an address of an object store."""
    return base.startswith(SCHEME)


def open_bucket(address: str) -> tuple[Any, str]:
    """The bucket of an address, and the prefix of its objects, which ends with `/`.

    Nothing is asked of the store yet.

    Args:
        address: `gs://bucket` or `gs://bucket/folder`.

    Raises:
        InfrastructureError: It names no bucket, or there are no credentials.
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
    """Turns what the client raises into an error that names the address and says what to do."""
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
            hint = "the checksums of both sides differ: run again"
        brief = " ".join(str(error).split()) or type(error).__name__
        if len(brief) > _TOLD_CHARACTERS:
            # What went wrong stands at either end, and the request between them.
            half = _TOLD_CHARACTERS // 2
            brief = f"{brief[:half]} ... {brief[-half:]}"
        raise InfrastructureError(f"{address}: {brief}", hint) from error
