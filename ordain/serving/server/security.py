"""Authentication and encryption: the bearer token and the TLS files."""

from __future__ import annotations

import hmac
import ssl
from pathlib import Path

from ordain.common.env_references import resolve_references
from ordain.errors import ConfigError

_SCHEME = "bearer "


def read_token(source: str) -> str:
    """Reads the token that `--token-file` names.

    Args:
        source: A file, or `${env:NAME}` for a variable that holds the token itself.

    Raises:
        ConfigError: There is no such file or variable, or the token is empty or not plain ASCII.
    """
    if source.startswith("${env:"):
        token = str(resolve_references(source, "--token-file")).strip()
    else:
        try:
            token = Path(source).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--token-file: {source} cannot be read: {error}") from error
    if not token:
        raise ConfigError(f"--token-file: {source} is empty")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigError(f"--token-file: {source}: a token must be one word of printable ASCII")
    return token


def is_authorized(header: str | None, token: str) -> bool:
    """True if an `Authorization` header carries the token; always true if none is required."""
    if not token:
        return True
    if header is None or header[: len(_SCHEME)].lower() != _SCHEME:
        return False
    # In constant time, so that timing does not reveal how much of the token is right.
    given = header[len(_SCHEME) :].strip().encode("utf-8", "surrogateescape")
    return hmac.compare_digest(given, token.encode())


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Makes the server's TLS context: TLS 1.2 or newer, Python's default ciphers.

    Raises:
        ConfigError: The files are not a certificate and its key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--tls-cert {cert} with --tls-key {key}: {error}") from error
    return context
