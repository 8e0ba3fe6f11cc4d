"""Reads request bodies within limits on size and time."""

from __future__ import annotations

import asyncio

from aiohttp import hdrs, web

from ordain.serving.server.errors import Code, RequestError, invalid
from ordain.serving.server.settings import Settings


async def read_body(request: web.BaseRequest, settings: Settings) -> bytes:
    """Reads a whole body, decompressed.

    Raises:
        RequestError: The body is too large, too slow, incomplete or damaged.
    """
    limit = settings.max_body_bytes
    if (request.content_length or 0) > limit:
        # Before any of it is read: a client that sent `Expect: 100-continue` need not send it.
        raise _too_large(limit)
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(settings.client_timeout_s):
            async for part in request.content.iter_any():
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                parts.append(part)
    except TimeoutError:
        raise RequestError(
            Code.REQUEST_TIMEOUT,
            f"timed out after {settings.client_timeout_s:g} s waiting for the request body",
        ) from None
    except web.RequestPayloadError as error:
        raise invalid(f"invalid request body: {error}") from None
    return b"".join(parts)


def _too_large(limit: int) -> RequestError:
    return RequestError(
        Code.PAYLOAD_TOO_LARGE, f"the request body exceeds the limit of {limit} bytes"
    )
