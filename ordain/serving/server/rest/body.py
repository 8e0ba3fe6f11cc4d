"""Reading a request's body: no more of it, and no longer, than the settings allow."""

from __future__ import annotations

import asyncio

from aiohttp import hdrs, web

from ordain.serving.server.errors import Code, RequestError, invalid
from ordain.serving.server.settings import Settings


async def read_body(request: web.BaseRequest, settings: Settings) -> bytes:
    """The whole body, decompressed if it came compressed.

    Raises:
        RequestError: It is larger than allowed, comes too slowly, breaks off or is damaged.
    """
    limit = settings.max_body_bytes
    if (request.content_length or 0) > limit:
        # Said before any of it is read: a client that waits for our word need not send it.
        raise _too_large(limit)
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            async for part in request.content.iter_any():
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                parts.append(part)
    except TimeoutError:
        raise RequestError(
            Code.REQUEST_TIMEOUT,
            f"the body did not arrive within {settings.body_timeout_s:g} s",
        ) from None
    except web.RequestPayloadError as error:
        raise invalid(f"the body is damaged: {error}") from None
    return b"".join(parts)


def _too_large(limit: int) -> RequestError:
    return RequestError(
        Code.PAYLOAD_TOO_LARGE, f"the body is larger than the {limit} bytes that are allowed"
    )
