"""Two server processes for all tests of this folder: one as it comes, one with every lock on."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, end, publish_toys, start, write_project

TOKEN = "correct-horse-battery"


@pytest.fixture(scope="session")
def projects(tmp_path_factory) -> tuple[Path, Path]:
    """Two projects with three published versions each."""
    found = []
    for name in ("plain", "locked"):
        folder = tmp_path_factory.mktemp(name)
        project = write_project(folder)
        publish_toys(folder / "work" / "serving" / "toy", folder, 3 if name == "plain" else 1)
        found.append(project)
    return found[0], found[1]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return cert_file, key_file


@pytest.fixture(scope="session")
def both(projects, certificate, tmp_path_factory) -> Iterator[tuple[Server, Server]]:
    """Both servers; they start side by side."""
    token = tmp_path_factory.mktemp("token") / "token.txt"
    token.write_text(TOKEN + "\n")
    cert, key = certificate
    plain = start(projects[0], "--client-timeout-s", "2")
    locked = start(
        projects[1],
        *("--token-file", token, "--tls-cert", cert, "--tls-key", key),
        *("--max-body-mb", "0.02", "--max-request-rows", "8", "--client-timeout-s", "0.5"),
        *("--request-timeout-s", "0.8", "--max-queue", "2"),
    )
    locked.headers["Authorization"] = f"Bearer {TOKEN}"
    locked.context = ssl.create_default_context(cafile=cert)
    try:
        yield plain.wait(), locked.wait()
    finally:
        end(plain)
        end(locked)


@pytest.fixture(scope="session")
def server(both) -> Server:
    """The server as it comes, over versions 1 to 3."""
    return both[0]


@pytest.fixture(scope="session")
def locked(both) -> Server:
    """The server with token, TLS and tight limits, over version 1."""
    return both[1]
