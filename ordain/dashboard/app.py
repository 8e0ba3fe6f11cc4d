"""Start, listening and shutdown of the application."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

from aiohttp import web

from ordain.config.project import Project
from ordain.dashboard.security import Guard
from ordain.dashboard.web import Router
from ordain.dashboard.workspaces import Site
from ordain.errors import InfrastructureError
from ordain.serving.server.connections import Listener, Server
from ordain.serving.server.settings import Settings

#: The only address: access from elsewhere goes through a tunnel, which authenticates users.
HOST = "127.0.0.1"
#: A form holds a reason, a share, a token and a hidden field.
MAX_BODY_BYTES = 16_000


async def serve_forever(
    projects: Iterable[Project], port: int, token: str, announce: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        projects: The projects to show.
        port: Port on loopback; 0 takes a free one.
        token: Token required for changes; empty to allow none.
        announce: Called with the URL once the server listens.

    Raises:
        ConfigError: Two projects have the same name, or the token is too short.
        InfrastructureError: The port is in use.
    """
    site = Site(projects)
    settings = Settings(
        Path(),
        "dashboard",
        host=HOST,
        rest_port=port,
        max_body_bytes=MAX_BODY_BYTES,
    )
    front = Router(site, Guard(token), settings)
    runner = web.ServerRunner(Server(front.handle, settings))
    await runner.setup()
    listener = Listener(runner, None)
    try:
        await listener.listen(HOST, port)
    except OSError as error:
        await runner.cleanup()
        raise InfrastructureError(
            f"cannot listen on {HOST}:{port}: {error.strerror or error}",
            "use another port: ordain dashboard PROJECT --port 0 takes a free one",
        ) from error
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    address = runner.addresses[0]
    announce(f"http://{address[0]}:{address[1]}/")
    await ended.wait()
    with contextlib.suppress(OSError):
        await listener.close()
    await runner.cleanup()
    site.close()
