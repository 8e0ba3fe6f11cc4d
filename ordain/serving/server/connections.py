"""TCP connections, with a time limit on the head of the first request.

aiohttp's own timer closes connections that are idle between requests, but not those of clients that
send a head byte by byte. Both limits together bound the life of a connection without requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from ordain.serving.server.settings import Settings

_BODY = b'{"error": "timed out waiting for the request head"}\n'
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: " + str(len(_BODY)).encode() + b"\r\n\r\n" + _BODY
)
#: Seconds to read the rest of a rejected body, so that the client receives the response.
LINGER_S = 1.0
#: Seconds after which an idle connection is closed.
KEEP_ALIVE_S = 75.0

#: Silences aiohttp's traceback for each malformed head; the client gets a 400.
_quiet = logging.getLogger("ordain.serve.heads")
_quiet.setLevel(logging.CRITICAL)

#: Backlog of connections to accept.
BACKLOG = 1024

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Server(web.Server):
    """aiohttp's server with a time limit on the first request of a connection."""

    def __init__(self, handler: Handler, settings: Settings) -> None:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            self._settle(request.protocol)
            return await handler(request)

        super().__init__(
            handle,
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=LINGER_S,
            access_log=None,
            logger=_quiet,
        )
        self._limit_s = settings.client_timeout_s
        self._timers: dict[Any, asyncio.TimerHandle] = {}

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        """Starts the timer of a new connection."""
        super().connection_made(handler, transport)
        loop = asyncio.get_running_loop()
        self._timers[handler] = loop.call_later(self._limit_s, self._refuse, handler, transport)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        """Stops the timer."""
        self._settle(handler)
        super().connection_lost(handler, exc)

    def _settle(self, handler: Any) -> None:
        timer = self._timers.pop(handler, None)
        if timer is not None:
            timer.cancel()

    def _refuse(self, handler: Any, transport: asyncio.Transport) -> None:
        self._timers.pop(handler, None)
        if not transport.is_closing():
            transport.write(_TOO_SLOW)
            transport.close()


class Listener:
    """HTTP listening socket that closes without resetting pending connections."""

    def __init__(self, runner: web.ServerRunner, context: ssl.SSLContext | None) -> None:
        self._runner = runner
        self._context = context

    async def listen(self, host: str, port: int) -> None:
        """Starts listening.

        Raises:
            OSError: The address does not belong to this machine, or is in use.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._site = web.SockSite(self._runner, self._socket, ssl_context=self._context)
        await self._site.start()

    async def close(self) -> None:
        """Stops listening; clients that are connected by then get their responses.

        The kernel resets connections in the backlog when the socket is closed, so they are accepted
        first.
        """
        waiting = []
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting.append(self._socket.accept()[0])
        await self._site.stop()
        loop = asyncio.get_running_loop()
        factory: Any = self._runner.server
        connecting = [
            loop.connect_accepted_socket(factory, connection, ssl=self._context)
            for connection in waiting
        ]
        await asyncio.gather(*connecting, return_exceptions=True)
