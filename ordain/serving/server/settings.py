"""What a server is started with, checked before anything heavy is imported."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from ordain.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """Everything `ordain serve` can be told.

    Attributes:
        base: The serving directory, `<base>/<version>/`.
        name: The model's name in paths and requests.
        host: Address to listen on.
        rest_port: REST port; 0 takes a free one.
        grpc_port: gRPC port; 0 takes a free one.
        token: What a request has to carry as `Authorization: Bearer ...`; empty for no check.
        tls_cert: PEM file of the certificate chain, or None.
        tls_key: PEM file of its key, or None.
        insecure: Whether an address others can reach may be served without a token.
        max_batch_size: Rows merged into one call of the model; 1 merges nothing.
        batch_wait_s: Longest a request waits for others to be merged with.
        max_queue: Requests that wait for the model; one more is answered 429.
        max_request_rows: Rows of one request; more are answered 400.
        max_body_bytes: Size of one request's body or message; more is answered 413.
        max_depth: Levels of nesting in a JSON body.
        request_timeout_s: Longest a request may take, and a call of the model; then it is answered
            504.
        load_timeout_s: Longest a version may take to be checked, loaded and warmed, on trial and
            again in this process; then it is refused.
        load_memory_bytes: Most memory a version may take for that, by its trial.
        header_timeout_s: Longest a new connection may take to send its first request's head.
        body_timeout_s: Longest a body may take to arrive; then it is answered 408.
        keep_alive_s: How long an idle connection is kept.
        drain_grace_s: After SIGTERM: how long requests are still taken while readiness is false.
        drain_timeout_s: After that: how long requests in flight may take.
        poll_s: How often labels and versions are looked at.
        threads: TensorFlow's threads for one call, and calls at a time.
        keep_loaded: Versions that lost their label and stay in memory, so that a rollback is
            instant.
        all_versions: Whether each version in the directory is loaded.
    """

    base: Path
    name: str
    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    token: str = ""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure: bool = False
    max_batch_size: int = 64
    batch_wait_s: float = 0.002
    max_queue: int = 1000
    max_request_rows: int = 4096
    max_body_bytes: int = 16_000_000
    max_depth: int = 32
    request_timeout_s: float = 30.0
    load_timeout_s: float = 120.0
    load_memory_bytes: int = 4_000_000_000
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    keep_alive_s: float = 75.0
    drain_grace_s: float = 1.0
    drain_timeout_s: float = 30.0
    poll_s: float = 0.2
    threads: int = os.cpu_count() or 1
    keep_loaded: int = 1
    all_versions: bool = False

    def check(self) -> None:
        """Refuses what cannot be served, or should not.

        Raises:
            ConfigError: Half of a TLS pair, a file that is not there, or an address that others
                can reach without a token.
        """
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("--tls-cert and --tls-key go together, and one is missing")
        for option, path in (("--tls-cert", self.tls_cert), ("--tls-key", self.tls_key)):
            if path is not None and not path.is_file():
                raise ConfigError(f"{option}: {path} is not a file")
        if not (is_loopback(self.host) or self.token or self.insecure):
            raise ConfigError(
                f"--host {self.host} can be reached from other machines, and no token is asked for",
                "--token-file FILE asks for one; --insecure serves without",
            )


def is_loopback(host: str) -> bool:
    """Whether an address or name reaches this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
