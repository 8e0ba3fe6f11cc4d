"""Server lifecycle: load the first version, listen, follow the directory, drain, stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import threading
from collections.abc import Callable
from functools import partial

import grpc
import tensorflow as tf
from aiohttp import web

from ordain.common.process_exit import exit_process
from ordain.errors import ConfigError, ExitCode, InfrastructureError
from ordain.serving.registry.label_file import STABLE
from ordain.serving.registry.trust import Trust
from ordain.serving.registry.versions import list_versions
from ordain.serving.server.connections import Listener, Server
from ordain.serving.server.grpc import tfserving as grpc_tfserving
from ordain.serving.server.grpc import v2 as grpc_v2
from ordain.serving.server.metrics import Metrics
from ordain.serving.server.models.load_trial import Trials
from ordain.serving.server.models.loading import load_version
from ordain.serving.server.models.reloader import Reloader
from ordain.serving.server.models.routing import State
from ordain.serving.server.models.workers import MAX_EXTRA, Workers
from ordain.serving.server.rest import tfserving as rest_tfserving
from ordain.serving.server.rest import v2 as rest_v2
from ordain.serving.server.rest.router import Router
from ordain.serving.server.security import tls_context
from ordain.serving.server.service import Service
from ordain.serving.server.settings import Settings

log = logging.getLogger("ordain.serve")

#: Seconds for connections accepted before the listener closed to send their last request.
SETTLE_S = 0.5
#: Seconds after the drain for accepted connections that nothing was read from yet.
CLOSE_S = 2.0
#: Seconds from the end of the drain to the end of the process, even if threads hang.
EXIT_S = CLOSE_S + 3.0


def serve(
    settings: Settings,
    announce: Callable[[str], None],
    trust: Trust | None = None,
    *,
    is_trial: bool = False,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains and returns.

    Must be called by the main thread, before TensorFlow's first operation.

    Args:
        settings: Checked settings.
        announce: Called with one line that names version and addresses, once the server is up.
        trust: Required signer of versions and labels; None while signing is off.
        is_trial: Whether this is the sandboxed trial server, which loads versions without a trial
            load in another process.

    Raises:
        ConfigError: There is no version yet, or a port or a TLS file cannot be used.
        InfrastructureError: The labels cannot be read, or the stable version is refused.
    """
    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    # Extra threads, because each call that hangs occupies one.
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads + MAX_EXTRA)
    # Objects in memory by now (mostly TensorFlow's) stay. Garbage collections skip them, so that
    # they delay requests less and leave the memory shared with the forked trial processes.
    gc.freeze()
    trials = None if is_trial else Trials(partial(load_version, trust=trust))
    asyncio.run(_serve(settings, announce, trust, trials))


async def _serve(
    settings: Settings,
    announce: Callable[[str], None],
    trust: Trust | None,
    trials: Trials | None,
) -> None:
    metrics = Metrics()
    workers = Workers(settings.threads, settings.request_timeout_s, metrics)
    reloader = Reloader(settings, metrics, workers, trust, trials)
    service = Service(settings, metrics, reloader, workers)
    async with contextlib.AsyncExitStack() as stack:
        # A failed start cancels the loads that it began, for example of a canary.
        stack.push_async_callback(reloader.close)
        await _load_first(settings, reloader)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        runner, listener = await _listen_http(settings, service, stack)
        server, grpc_port = await _listen_grpc(settings, service)
        stack.push_async_callback(server.stop, 0)
        following = asyncio.create_task(reloader.follow())
        stable = reloader.routing.stable
        addresses = _addresses(settings, runner, grpc_port)
        announce(f"serving {settings.name} version {stable} ({STABLE}) on {addresses}")
        await stop.wait()
        _limit_shutdown(settings)
        following.cancel()
        await reloader.close()
        await _drain(settings, service, listener, server)


def _limit_shutdown(settings: Settings) -> None:
    """Ends the process soon after the drain's time limit, even if a thread hangs."""
    limit_s = settings.drain_grace_s + SETTLE_S + settings.drain_timeout_s + EXIT_S
    timer = threading.Timer(limit_s, exit_process, [int(ExitCode.NODE_FAILED)])
    timer.daemon = True
    timer.start()


async def _load_first(settings: Settings, reloader: Reloader) -> None:
    if not list_versions(settings.base):
        raise ConfigError(f"{settings.base} has no version to serve", "ordain run PROJECT")
    await reloader.start()
    if reloader.routing.stable is None:
        states = reloader.states.values()
        refused = [f"version {s.version}: {s.message}" for s in states if s.state is State.END]
        raise InfrastructureError(
            "; ".join(refused) or f"{settings.base}: no version has the label {STABLE}",
            "ordain models list PROJECT shows the versions; promote or roll back to a valid one",
        )


async def _listen_http(
    settings: Settings, service: Service, stack: contextlib.AsyncExitStack
) -> tuple[web.ServerRunner, Listener]:
    router = Router(service, {"v1": rest_tfserving.respond, "v2": rest_v2.respond})
    # Short, because the drain has already waited for open requests.
    runner = web.ServerRunner(Server(router.handle, settings), shutdown_timeout=CLOSE_S)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    context = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        context = tls_context(settings.tls_cert, settings.tls_key)
    listener = Listener(runner, context)
    try:
        await listener.listen(settings.host, settings.rest_port)
    except OSError as error:
        raise ConfigError(
            f"--rest-port {settings.rest_port}: cannot listen on {settings.host}: "
            f"{error.strerror or error}",
            "--rest-port 0 picks a free port",
        ) from error
    return runner, listener


async def _listen_grpc(settings: Settings, service: Service) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", settings.max_body_bytes),
            ("grpc.max_send_message_length", -1),
            # Otherwise a second server could take a share of this one's requests unnoticed.
            ("grpc.so_reuseport", 0),
        )
    )
    grpc_tfserving.add_services(server, service)
    grpc_v2.add_services(server, service)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port}"
    try:
        if settings.tls_cert is not None and settings.tls_key is not None:
            pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
            port = server.add_secure_port(address, grpc.ssl_server_credentials((pair,)))
        else:
            port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise ConfigError(
            f"--grpc-port {settings.grpc_port}: cannot listen on {settings.host}",
            "--grpc-port 0 picks a free port",
        ) from error
    await server.start()
    return server, port


def _addresses(settings: Settings, runner: web.ServerRunner, grpc_port: int) -> str:
    host, port = runner.addresses[0][:2]
    scheme = "https" if settings.tls_cert is not None else "http"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{port} and grpc {shown}:{grpc_port}"


async def _drain(
    settings: Settings, service: Service, listener: Listener, server: grpc.aio.Server
) -> None:
    """Reports not ready, then accepts no new connections, then waits for open requests."""
    log.info("draining: new requests are accepted for %g s more", settings.drain_grace_s)
    service.is_draining = True
    await asyncio.sleep(settings.drain_grace_s)
    await listener.close()
    stopping = asyncio.create_task(server.stop(settings.drain_timeout_s))
    # Connected clients that have not sent a request yet (for example in a TLS handshake) may.
    await asyncio.sleep(SETTLE_S)
    try:
        await asyncio.wait_for(service.open_requests.ended(), settings.drain_timeout_s)
    except TimeoutError:
        log.error("drain timed out after %g s with open requests", settings.drain_timeout_s)
    await stopping
    log.info("drained")
