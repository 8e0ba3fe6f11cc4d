"""TCP connections: a client that does not get its first request's head out is let go.

aiohttp's own timer closes a connection that is idle between requests; it says nothing to a client
that trickles a head. Both limits together bound how long a connection that asks nothing lives.
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

_BODY = b'{"error": "the head of a request did not arrive in time"}\n'
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: " + str(len(_BODY)).encode() + b"\r\n\r\n" + _BODY
)
#: How long the rest of a body that nobody wants is read, so that the client gets our answer.
LINGER_S = 1.0

#: aiohttp logs a trace for each head that is none; the client is told, and the log is spared.
_quiet = logging.getLogger("ordain.serve.heads")
_quiet.setLevel(logging.CRITICAL)

#: Connections that may wait to be accepted.
BACKLOG = 1024

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Server(web.Server):
    """aiohttp's server, with a limit on the time to the first request."""

    def __init__(self, handler: Handler, settings: Settings) -> None:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            self._settle(request.protocol)
            return await handler(request)

        super().__init__(
            handle,
            keepalive_timeout=settings.keep_alive_s,
            lingering_time=LINGER_S,
            access_log=None,
            logger=_quiet,
        )
        self._limit_s = settings.header_timeout_s
        self._timers: dict[Any, asyncio.TimerHandle] = {}

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        """Starts the clock of a new connection."""
        super().connection_made(handler, transport)
        loop = asyncio.get_running_loop()
        self._timers[handler] = loop.call_later(self._limit_s, self._refuse, handler, transport)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        """Stops the clock."""
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
    """The listening socket of the HTTP side, which can be closed without losing a connection."""

    def __init__(self, runner: web.ServerRunner, context: ssl.SSLContext | None) -> None:
        self._runner = runner
        self._context = context

    async def listen(self, host: str, port: int) -> None:
        """Listens.

        Raises:
            OSError: The address is none of this machine's, or is taken.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._site = web.SockSite(self._runner, self._socket, ssl_context=self._context)
        await self._site.start()

    async def close(self) -> None:
        """Listens no more; who is connected by then is answered.

        The kernel has connections that nobody accepted yet, and resets them when their socket is
        closed: they are accepted first.
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
