"""Server settings, checked before anything heavy is imported."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from ordain.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """Settings of `ordain serve`.

    Attributes:
        base: The serving directory, `<base>/<version>/`.
        name: The model's name in paths and requests.
        host: Address to listen on.
        rest_port: REST port; 0 takes a free one.
        grpc_port: gRPC port; 0 takes a free one.
        token: Required bearer token; empty for no check.
        tls_cert: PEM file of the certificate chain, or None.
        tls_key: PEM file of its key, or None.
        insecure: Whether a non-loopback address may be served without a token.
        max_batch_size: Most rows in one call of the model; 1 disables batching.
        batch_wait_s: Longest wait of a request for its batch to fill.
        max_queue: Most requests waiting for the model; further ones get 429.
        max_request_rows: Most rows in one request; more get 400.
        max_body_bytes: Largest body or message of a request; larger ones get 413.
        request_timeout_s: Time limit of a request and of a call of the model; then 504.
        load_timeout_s: Time limit to check, load and warm a version, in the trial process and again
            in this one; then the version is refused.
        load_memory_bytes: Memory limit of a version's trial load.
        client_timeout_s: Time limit for the head of a connection's first request, and for a body to
            arrive; then 408.
        drain_grace_s: After SIGTERM, time in which requests are accepted while not ready.
        drain_timeout_s: After that, time limit of open requests.
        threads: TensorFlow's threads for one call, and concurrent calls.
        keep_loaded: Versions that lost their label and stay in memory for an instant rollback.
        all_versions: Whether every version in the directory is loaded.
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
    request_timeout_s: float = 30.0
    load_timeout_s: float = 120.0
    load_memory_bytes: int = 4_000_000_000
    client_timeout_s: float = 10.0
    drain_grace_s: float = 1.0
    drain_timeout_s: float = 30.0
    threads: int = os.cpu_count() or 1
    keep_loaded: int = 1
    all_versions: bool = False

    def check(self) -> None:
        """Validates the settings.

        Raises:
            ConfigError: One of the TLS files is missing, or an address that others can reach is
                without a token.
        """
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("--tls-cert and --tls-key must be given together")
        for option, path in (("--tls-cert", self.tls_cert), ("--tls-key", self.tls_key)):
            if path is not None and not path.is_file():
                raise ConfigError(f"{option}: {path} is not a file")
        if not (is_loopback(self.host) or self.token or self.insecure):
            raise ConfigError(
                f"--host {self.host} can be reached from other machines, and no token is required",
                "--token-file FILE requires one; --insecure serves without",
            )


def is_loopback(host: str) -> bool:
    """True if an address or name reaches this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
